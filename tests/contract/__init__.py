"""What every driver promises, in one suite, and the drivers that are held to it."""

import pytest

pytest.register_assert_rewrite(f"{__name__}.suite", f"{__name__}.deaths", f"{__name__}.looking")
