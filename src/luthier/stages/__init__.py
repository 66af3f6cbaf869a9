"""The training stages: name -> class, imported at first use."""

from luthier.registry import Registry

STAGES = Registry(
    "stage",
    {
        "pt": "luthier.stages.pretrain:Pretrain",
        "sft": "luthier.stages.sft:SupervisedFineTuning",
    },
)
