"""Documents to rows that can be trusted: every row leads back to the characters and the page that prove it.

    project.py  a folder and its database        recipe.py   what to do (project.yaml), and the hash of each stage's part
    readers/    a file to text with a page map   clean.py    rules that change text, always shown as a difference
    blocks.py   text to blocks                   chunk.py    blocks to spans, nothing lost
    split.py    train, val, test before asking   extract.py  questions and answers without a model
    prompts/    what a model is asked            jobs/       calls that lose nothing
    evidence.py quotes found in the source       filters.py  what is wrong with a row, by reason code
    judge.py    verdicts                         dedup.py    the same row twice
    publish.py  rows to samples, provenance, card

Nothing here imports torch, and nothing here reads or writes a dataset format: workflows/documents.py joins the two.
"""
