"""What runs inside the peer's own environment (.bench-venv): LLaMA-Factory's pieces, called from its own package."""
