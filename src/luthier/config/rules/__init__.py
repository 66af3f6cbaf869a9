"""Keys that do not go together: one table of rules, a file a topic, each rule with its reason.

Never looks at files, data or the machine.
"""

from luthier.config.rules.data import DATA
from luthier.config.rules.evaluation import EVALUATION
from luthier.config.rules.export import EXPORT
from luthier.config.rules.job import JOB
from luthier.config.rules.machine import MACHINE
from luthier.config.rules.optimizer import OPTIMIZER
from luthier.config.rules.parts import PARTS
from luthier.config.rules.preference import PREFERENCE
from luthier.config.rules.stages import STAGES
from luthier.config.rules.teaching import TEACHING
from luthier.config.rules.tokens import TOKENS
from luthier.config.rules.tuning import TUNING

RULES = (*JOB, *DATA, *EVALUATION, *MACHINE, *TUNING, *OPTIMIZER, *PARTS, *TEACHING, *TOKENS, *PREFERENCE, *STAGES, *EXPORT)
