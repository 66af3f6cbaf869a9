"""LoRA SFT on one CUDA GPU, bf16, rows of 4,096 tokens: Luthier's own trainer beside a textbook transformers + peft loop.

Random weights are made on the device, so nothing is downloaded. `python -m bench.gpu.sft --help`.
"""
