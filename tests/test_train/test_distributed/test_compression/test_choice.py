"""Every compression has a name, and no other name has one."""

import pytest

from pfir.errors import UsageError
from pfir.train.distributed.compression.choice import COMPRESSIONS, hook_named


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_a_name_gives_a_hook(name):
    hook_named(name).forget()


def test_another_name_is_refused():
    with pytest.raises(UsageError, match="--compress-gradients zip is not known; it is one of none, fp16, powersgd"):
        hook_named("zip")
