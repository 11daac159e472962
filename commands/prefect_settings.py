"""Which setting keeps Prefect from being imported or started. Imports nothing from Prefect, which has failed.

Settings are named, but their values are never shown: PREFECT_API_KEY is one of them.
"""

import os
import re
import sys
import traceback
from collections.abc import Iterator
from typing import Any

from tasks.errors import ConfigError, PipelineError

ELSEWHERE = "the environment, .env, prefect.toml, pyproject.toml or Prefect's profile"
READ_IN = r"prefect/(settings/(?!context)|logging/configuration|results)"
"""The modules in which Prefect reads its settings, and uses them to set up logging and result storage."""
FOLLOWS = "default_factory_not_called"
"""The type of an error that only follows from another setting's error."""
OWN_TEXT = {"value_error", "assertion_error"}
"""Error types whose text is Prefect's own and may quote the value; all others only say what is expected."""


def settings_problem(error: BaseException) -> ConfigError | None:
    """The settings that Prefect rejects, or that may have made it fail; None if the error has another cause."""
    # a KeyboardInterrupt may arrive while settings are being read
    if isinstance(error, PipelineError) or not isinstance(error, Exception):
        return None
    from tasks.library_errors import causes  # imports boto3, so only a script that failed waits for it

    found = list(causes(error))
    if refused := [each for link in found for each in refusals(link)]:
        return ConfigError(f"Prefect refuses {'; '.join(refused)}. Correct or remove it in {ELSEWHERE}.")
    if not any(map(is_about_settings, found)):
        return None
    names = ", ".join(sorted(name for name in os.environ if name.startswith("PREFECT_"))) or "none"
    return ConfigError(
        f"Prefect cannot start with its settings ({type(error).__name__}). Correct or remove what is wrong in "
        f"{ELSEWHERE}; its variables that are set: {names}."
    )


def is_about_settings(error: BaseException) -> bool:
    """Whether an error was raised where Prefect reads or applies its settings."""
    if type(error) is ImportError and error.name == "prefect":  # Prefect hides what made its import fail
        return True
    return raised_in(error, READ_IN)


def raised_in(error: BaseException, modules: str) -> bool:
    """Whether an error's traceback contains a file that matches this pattern."""
    return any(re.search(modules, frame.filename) for frame in traceback.extract_tb(error.__traceback__))


def refusals(error: Any) -> Iterator[str]:
    """Each setting that a pydantic error is about, and what was expected."""
    if type(error).__name__ == "SettingsError" and (field := re.search(r'for field "(\w+)"', str(error))):
        yield f"{name_of(field[1])}: its format is wrong"
    if type(error).__name__ == "ValidationError" and settings_classes(error.title):
        for each in error.errors(include_url=False, include_context=False, include_input=False):
            if each["type"] != FOLLOWS:
                expected = "its value is not valid" if each["type"] in OWN_TEXT else each["msg"]
                yield f"{name_of(str((*each['loc'], '')[0]), error.title)}: {expected}"


def name_of(field: str, title: str | None = None) -> str:
    """The variable for a setting; if several classes have such a field, the variables that are set."""
    if field.startswith("prefect_"):  # an alias
        return field.upper()
    prefixes = [str(each.model_config["env_prefix"]) for each in settings_classes(title, field)]
    names = sorted({f"{prefix}{field.upper() or '…'}" for prefix in prefixes})
    return " or ".join([name for name in names if name in os.environ] or names)


def settings_classes(title: str | None, field: str = "") -> list[Any]:
    """Prefect's settings classes with that name, or that have a field with that name."""
    modules = [module for name, module in sys.modules.items() if name.startswith("prefect.settings.models")]
    classes = {each for module in modules for each in vars(module).values() if hasattr(each, "model_fields")}
    return [each for each in classes if title in (None, each.__name__) and (not field or field in each.model_fields)]
