"""Which models have experts to balance: as transformers' own classes say."""

import pytest
from transformers import AutoConfig

from luthier.errors import ModelError
from luthier.models.routers import require_routers

LISTED = ("ernie4_5_moe", "granitemoe", "jamba", "jetmoe", "mixtral", "olmoe", "phimoe", "qwen2_moe", "qwen3_moe")


@pytest.mark.parametrize("family", LISTED)
def test_families_with_a_loss_of_their_own_are_taken(family):
    require_routers(AutoConfig.for_model(family))


@pytest.mark.parametrize(
    ("family", "reason"),
    [("qwen3", "this model has no experts"), ("deepseek_v3", "knows no such loss"), ("doge", "no such loss")],
)
def test_others_are_refused_with_the_reason(family, reason):
    with pytest.raises(ModelError, match=rf'moe_aux_loss_coef .*{reason}.*\("{family}"\)'):
        require_routers(AutoConfig.for_model(family))
