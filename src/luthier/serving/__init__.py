"""The OpenAI-compatible API: protocol types, and a FastAPI application around workflows/serve.py."""
