"""The stages of a project: each reads the store, does what is not done yet for the current recipe, and writes the store.

Run twice, a step does nothing the second time. What it did under another recipe stays in the store, marked old, and is current
again when the recipe is what it was.
"""
