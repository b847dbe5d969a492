"""Opens the stack that the options ask for, or chooses a stack for `auto`."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rushhour.alarms.real_config import RealAlerting
from rushhour.errors import StackError, UsageError
from rushhour.process.guard import Guard
from rushhour.process.ports import HOST
from rushhour.scenario.model import Scenario
from rushhour.stack import Progress, Stack
from rushhour.stack.at_url import UrlStack
from rushhour.stack.choose import Asked, choose_stack
from rushhour.stack.processes.stack import EmbeddedStack


@dataclass(frozen=True, slots=True)
class StackOptions:
    """The options of a stack. `image` needs Compose, `postgres_bin` needs the embedded stack."""

    stack: Asked
    image: str | None
    allow_host: str | None
    postgres_bin: Path | None
    alerting: RealAlerting | None = None  # real alarms run on Compose alone
    service_host: str = HOST  # where the service listens: beyond loopback for workers on other machines

    @property
    def asked(self) -> Asked:
        """The stack that the other options leave open."""
        if self.stack == "auto" and (self.image or self.alerting):
            return "compose"
        if self.stack == "auto" and self.postgres_bin:
            return "embedded"
        return self.stack

    def problems(self) -> Iterator[str]:
        """Yield what cannot be had together."""
        if self.asked == "embedded" and self.image:
            yield "--image runs in a container: leave out --stack embedded"
        if self.asked == "embedded" and self.alerting:
            yield "--observability runs Prometheus in a container: leave out --stack embedded"
        if self.asked == "compose" and self.postgres_bin:
            yield "--postgres-bin is for the embedded stack: on Compose the server comes from its image"


def needs_embedded(scenario: Scenario) -> bool:
    """Whether it asks for what only the embedded stack has: a partner, a relay, no agent, an own service."""
    return bool(
        scenario.service.partner
        or scenario.cut_off
        or not scenario.agent
        or not scenario.target.schema  # a service of the user's own: there is no image of it
    )


def open_stack(
    options: StackOptions,
    guard: Guard,
    scenarios: Iterable[Scenario],
    progress: Progress,
    say: Callable[[str], None],
) -> Stack:
    """Return the stack for these scenarios; Compose has its images by then.

    Raises UsageError for options that contradict each other, and StackError when a stack that was named
    cannot be brought up on this machine.
    """
    wanted = list(scenarios)
    composed = [scenario for scenario in wanted if scenario.target.compose]
    if problems := [*options.problems(), *_against(options, composed), *_unwatched(options, wanted)]:
        raise UsageError(problems)
    own = None
    if composed:
        from rushhour.stack.compose_service.stack import ComposeServiceStack  # noqa: PLC0415  # as below

        own = ComposeServiceStack(guard, options.allow_host, service_host=options.service_host)
        own.prepare(composed)
    chosen = [scenario for scenario in wanted if not scenario.target.url and not scenario.target.compose]
    if not chosen:
        return own or UrlStack(options.allow_host)
    embedded = EmbeddedStack(guard, postgres_bin=options.postgres_bin, service_host=options.service_host)
    if options.asked == "embedded":
        return embedded
    from rushhour.stack.compose.stack import ComposeStack  # noqa: PLC0415  # the engine's client takes long to import

    compose = ComposeStack(
        guard,
        options.image,
        options.allow_host,
        service_host=options.service_host,
        alerting=options.alerting,
    )
    releases = [scenario.release for scenario in chosen]
    bound = next((scenario.name for scenario in chosen if needs_embedded(scenario)), None)

    def prepare_compose() -> str:
        if bound is not None:
            raise StackError(f"scenario {bound} needs a partner process, a relay, no agent or an own service")
        return compose.prepare(releases, progress)

    choice = choose_stack(options.asked, prepare_compose)
    if choice.why:
        say(choice.why)
    return compose if choice.name == "compose" else embedded


def _against(options: StackOptions, composed: Iterable[Scenario]) -> Iterator[str]:
    """Yield what contradicts a target that is a Compose service."""
    for scenario in composed:
        if options.image:
            yield f"--image: the service of scenario {scenario.name} comes from {scenario.target.compose[0]}"
        if options.asked == "embedded":
            yield (
                f"--stack embedded: the service of scenario {scenario.name} runs in a container; leave it out"
            )


def _unwatched(options: StackOptions, wanted: Iterable[Scenario]) -> Iterator[str]:
    """Yield services that are not of this stack, which real alarms cannot watch."""
    for scenario in wanted:
        if options.alerting and (scenario.target.url or scenario.target.compose):
            where = scenario.target.url or scenario.target.compose[0]
            yield (
                f"--observability: the service of scenario {scenario.name} comes from {where}, "
                "and not from here"
            )


def stack_of(
    scenario: Scenario, stack: Stack, guard: Guard, *, allow_host: str | None, service_host: str
) -> Stack:
    """Return the stack of one scenario among several: a target may bring its own."""
    if scenario.target.url:
        return UrlStack(allow_host)
    if scenario.target.compose:
        from rushhour.stack.compose_service.stack import ComposeServiceStack  # noqa: PLC0415  # as above

        return ComposeServiceStack(guard, allow_host, service_host=service_host)
    return stack
