"""The training stages: name -> class, imported at first use."""

from luthier.registry import Registry

STAGES = Registry(
    "stage",
    {
        "pt": "luthier.stages.pretrain:Pretrain",
        "rm": "luthier.stages.reward:RewardModelling",
        "dpo": "luthier.stages.dpo:DirectPreference",
        "kto": "luthier.stages.kto:KahnemanTversky",
        "grpo": "luthier.stages.grpo:GroupRelative",
        "ppo": "luthier.stages.ppo:ProximalPolicy",
        "kd": "luthier.stages.distill:Distillation",
        "sft": "luthier.stages.sft:SupervisedFineTuning",
    },
)
