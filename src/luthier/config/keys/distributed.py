"""Keys of several devices, several machines and the workers that feed them."""

from typing import Any

from pydantic import Field

from luthier.config.keys.base import Group


class DistributedKeys(Group):
    """Data loader workers, DDP, FSDP, DeepSpeed, Ray, Megatron and other launchers."""

    dataloader_num_workers: int = Field(0, ge=0)
    dataloader_pin_memory: bool = True
    dataloader_persistent_workers: bool = False
    dataloader_prefetch_factor: int | None = Field(None, ge=1)
    dataloader_drop_last: bool = False
    dataloader_multiprocessing_context: str | None = None
    dataloader_in_order: bool = True
    remove_unused_columns: bool = True
    label_names: list[str] | None = None
    accelerator_config: dict[str, Any] | str | None = None
    parallelism_config: dict[str, Any] | str | None = None
    local_rank: int = Field(-1, ge=-1)
    nproc_per_node: int | None = Field(None, ge=1)
    nnodes: int | None = Field(None, ge=1)
    node_rank: int | None = Field(None, ge=0)
    ddp_backend: str | None = None
    ddp_timeout: int = Field(1800, ge=1)
    ddp_find_unused_parameters: bool | None = None
    ddp_bucket_cap_mb: int | None = Field(None, ge=1)
    ddp_broadcast_buffers: bool | None = None
    ddp_static_graph: bool | None = None
    fsdp: str | None = None
    fsdp_config: dict[str, Any] | str | None = None
    fsdp_min_num_params: int = Field(0, ge=0)
    fsdp_transformer_layer_cls_to_wrap: str | None = None
    deepspeed: dict[str, Any] | str | None = None
    debug: str = ""
    ray_num_workers: int = Field(1, ge=1)
    ray_init_kwargs: dict[str, Any] | str | None = None
    ray_scope: str = "last"
    master_addr: str | None = None
    master_port: str | None = None
    use_mca: bool = False
    use_megatron_bridge: bool = False
    use_hyper_parallel: bool = False
    hyper_parallel_args: str | None = None
    hyper_parallel_cp_size: int = Field(1, ge=1)
    tensor_model_parallel_size: int = Field(1, ge=1)
    pipeline_model_parallel_size: int = Field(1, ge=1)
    expert_model_parallel_size: int = Field(1, ge=1)
    context_parallel_size: int = Field(1, ge=1)
    virtual_pipeline_model_parallel_size: int | None = Field(None, ge=1)
    sequence_parallel: bool = False
    recompute_granularity: str | None = None
    recompute_method: str | None = None
    recompute_num_layers: int | None = Field(None, ge=1)
    account_for_embedding_in_pipeline_split: bool | None = None
    account_for_loss_in_pipeline_split: bool | None = None
    bias_activation_fusion: bool | None = None
    apply_rope_fusion: bool | None = None
    masked_softmax_fusion: bool | None = None
    cross_entropy_loss_fusion: bool | None = None
    moe_grouped_gemm: bool | None = None
    moe_token_dispatcher_type: str | None = None
    calculate_per_token_loss: bool | None = None
    use_distributed_optimizer: bool = True
    overlap_param_gather: bool = True
    overlap_grad_reduce: bool = True
    use_packed_sequences: bool = False
    mixed_precision: str = "bf16_mixed"
    megatron_pretrained_checkpoint: str | None = None
    export_hf_on_finish: bool = False
    extra_config: dict[str, Any] | str | None = None
    use_kt: bool = False
    kt_cpu_activation: bool | None = None
    kt_weight_path: str | None = None
    kt_non_expert_weight_path: str | None = None
    kt_expert_checkpoint_path: str | None = None
    kt_use_lora_experts: bool | None = None
    kt_lora_expert_num: int | None = None
    kt_lora_expert_intermediate_size: int | None = None
