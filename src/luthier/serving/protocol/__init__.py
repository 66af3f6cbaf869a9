"""OpenAI's protocol as pydantic types: what is accepted, what is answered. A field that is not here is refused by name."""
