import sys
from hypothesis import settings, Phase
import tests.acceptance.test_reports_model as t
settings.register_profile("reports model", t._ALIKE, max_examples=60, stateful_step_count=60, phases=(Phase.generate,))
from tests.acceptance.test_reports_model import *
from tests.conftest import *
