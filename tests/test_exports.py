"""The public face of every package: what it exports is there, in order, and hides no module."""

import importlib
import pkgutil
from types import ModuleType

import pytest

PACKAGES = ("schemas", "pipeline", "jobs")


def packages() -> list[str]:
    """The dotted names of our packages, inner ones included."""
    found = list(PACKAGES)
    for top in PACKAGES:
        module = importlib.import_module(top)
        found += [info.name for info in pkgutil.walk_packages(module.__path__, f"{top}.") if info.ispkg]
    return found


@pytest.mark.parametrize("name", packages())
def test_no_export_hides_a_module(name: str) -> None:
    """No package exports a name that is also one of its modules: `import a.b as m` would give the export."""
    package = importlib.import_module(name)
    modules = [info.name for info in pkgutil.iter_modules(package.__path__)]

    assert [] == [m for m in modules if not isinstance(vars(package).get(m, package), ModuleType)]


@pytest.mark.parametrize("name", packages())
def test_all_is_sorted_and_exists(name: str) -> None:
    """What stands in `__all__` exists and is sorted."""
    package = importlib.import_module(name)
    exported = getattr(package, "__all__", [])

    assert sorted(exported) == list(exported)
    assert [] == [export for export in exported if not hasattr(package, export)]
