"""What the process of a target can be asked for. It reads no index and fetches nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from transfer.errors import OutputError

if TYPE_CHECKING:
    from transfer.options import Options

__all__ = ["Duties"]


class Duties:
    """Opens networks and answers questions about them.

    Parameters
    ----------
    step : callable
        Called with the name of each step as it begins.
    advance : callable
        Called with the bytes of it that are done and that are to do, where that is known.
    """

    def __init__(self, step: Callable[[str], None], advance: Callable[[int, int], None]) -> None:
        self._step, self._advance = step, advance
        self._networks: dict[str, Any] = {}

    def do(self, request: dict[str, Any]) -> Any:
        """Answer a request.

        Parameters
        ----------
        request : dict
            Its name, and the arguments of the method of that name.

        Returns
        -------
        object
            JSON values.
        """
        names: dict[str, Callable[..., Any]] = {
            "open": self._open,
            "describe": self._describe,
            "plan": self._plan,
            "plan_with": self._plan_with,
            "left": self._left,
            "transfer": self._transfer,
        }
        return names[request.pop("name")](**request)

    def _open(
        self, role: str, spec: str, example: str | None, device: str, entry: dict[str, Any] | None = None
    ) -> None:
        self._step("load and build")
        if entry is not None:
            from zoo_index.recommending.resolve import open_entry

            self._networks[role] = open_entry(entry, example)
        elif device == "meta":
            from zoo_index.recommending.targets import open_target

            self._networks[role] = open_target(spec, example)
        else:
            from zoo_index.transferring.transfers import build_on

            self._networks[role] = build_on(device, spec, example)

    def _describe(self, role: str, called: str | None) -> dict[str, Any]:
        self._step("standardize")
        from transfer.structure.notation import to_values
        from zoo_index.foundation.garbage import without_collections
        from zoo_index.recommending.resolve import described

        network = self._networks[role]
        with without_collections():
            found = described(network, called or type(network).__name__)
            forms = {form: to_values(architecture) for form, architecture in found.forms.items()}
        return {"name": found.name, "n_params": found.n_params, "forms": forms}

    def _plan(
        self,
        sources: list[str],
        names: list[str],
        method: str,
        options: dict[str, Any],
        drawn: bool = False,
    ) -> dict[str, Any]:
        self._step("plan")
        from transfer.planning.outline import outlined
        from transfer.planning.plans import plan

        networks = [self._networks[role] for role in sources]
        found = plan(
            networks if len(networks) > 1 else networks[0],
            self._networks["target"],
            method=method,
            options=_options(options),
            source_names=names,
        )
        return outlined(found, names[0]) if drawn else found.to_json()

    def _plan_with(self, entry: dict[str, Any], method: str) -> dict[str, Any] | str:
        """Plan for one entry among others, to be drawn; say why where that cannot be done."""
        from transfer.errors import ZooError

        name = entry["name"]
        try:
            self._open(name, name, None, "meta", entry)
            return self._plan([name], [name], method, {}, drawn=True)
        except ZooError as error:
            return str(error)

    def _left(self, places: list[dict[str, Any]], options: dict[str, Any]) -> Any:
        self._step("plan what is left")
        from transfer.structure.notation import to_values
        from zoo_index.transferring.sources import Place
        from zoo_index.transferring.transfers import left_fresh

        found = [Place(**place) for place in places]
        return to_values(left_fresh(self._networks["target"], found, _options(options)))

    def _transfer(
        self,
        places: list[dict[str, Any]],
        options: dict[str, Any],
        file: str,
        output: str,
        drawn: bool = False,
        **others: Any,
    ) -> dict[str, Any]:
        self._step("read the source")
        from dataclasses import replace

        from transfer.planning.outline import outlined
        from zoo_index.transferring.sources import Place
        from zoo_index.transferring.transfers import fill, save

        module = self._networks["target"]
        found = [Place(**place) for place in places]
        report = fill(
            module, found, options=_options(options), progress=self._step, advance=self._advance, **others
        )
        self._step("save")
        try:
            save(module, report, file)
        except OutputError as error:  # the file is not where the user will find it
            raise OutputError(str(error).replace(file, output)) from error
        report = replace(report, output=output)
        return outlined(report, report.source) if drawn else report.to_json()


def _options(values: dict[str, Any]) -> Options:
    from transfer.options import Options

    return Options(**values)
