"""CloudWatch's composite alarms, which combine the states of other alarms -> policies (pure)."""

from collections.abc import Iterable
from typing import Final

from rushhour.alarms.cloudwatch import CloudWatchAlarm
from rushhour.alarms.composite import CompositeAlarm, RuleError, Suppressor, name_of, parsed_rule
from rushhour.alarms.events import Policy
from rushhour.alarms.formats.raw_alarms import (
    OpenAlarmError,
    RawAlarm,
    WrongAlarmError,
    actions_of,
    number_of,
    text_of,
)
from rushhour.alarms.unreplayed import Unreplayed

MAX_NESTED: Final = 50  # composite alarms that name composite alarms


def composite_alarms(raws: Iterable[RawAlarm], metric: Iterable[Policy]) -> tuple[list[Policy], list[str]]:
    """Return the composite alarms among them; `metric` are all alarms that they may name."""
    waiting = {raw.name: raw for raw in raws if raw.composite}
    done: dict[str, Policy] = {policy.name: policy for policy in metric}
    found: list[Policy] = []
    problems: list[str] = []

    def build(raw: RawAlarm, above: tuple[str, ...]) -> Policy | None:
        try:
            text_of(raw, "AlarmName")
            _check_depth(above)
            rule = parsed_rule(text_of(raw, "AlarmRule"))
            suppressor = _suppressor(raw)
            needed = [*rule.names, *((suppressor.alarm,) if suppressor else ())]
            for name in needed:
                if name in waiting and name not in done and name not in above:
                    child = build(waiting[name], (*above, raw.name))
                    if child is not None:
                        done[name] = child
            alarms = {
                name: done[name]
                for name in needed
                if isinstance(done.get(name), CloudWatchAlarm | CompositeAlarm)
            }
            unknown = {name: _why(done.get(name), name in above) for name in needed if name not in alarms}
            return CompositeAlarm(
                name=raw.name,
                alarm_rule=rule,
                actions=actions_of(raw),
                alarms=alarms,  # type: ignore[arg-type]  # of the two classes above
                unknown=unknown,
                suppressor=suppressor,
                description=str(raw.plain.get("AlarmDescription") or ""),
            )
        except WrongAlarmError as error:
            problems.append(f"{raw.place}: {raw.name or 'an alarm'}: {error}")
            return None
        except (OpenAlarmError, RuleError) as error:
            return Unreplayed(raw.name, "cloudwatch", str(raw.plain.get("AlarmRule")), str(error))

    for name, raw in waiting.items():
        policy = done.get(name) or build(raw, (name,))
        if policy is not None:
            done[name] = policy
            found.append(policy)
    return found, problems


def _check_depth(above: tuple[str, ...]) -> None:
    if len(above) > MAX_NESTED:
        raise OpenAlarmError(f"alarms name alarms more than {MAX_NESTED} deep")


def _why(policy: Policy | None, circular: bool) -> str:
    if circular:
        return "it reads this one in turn"
    return policy.why if isinstance(policy, Unreplayed) else "no file holds it"


def _suppressor(raw: RawAlarm) -> Suppressor | None:
    if not raw.plain.get("ActionsSuppressor"):
        return None
    waits = [
        number_of(raw, key) if raw.plain.get(key) is not None else 0.0
        for key in ("ActionsSuppressorWaitPeriod", "ActionsSuppressorExtensionPeriod")
    ]
    return Suppressor(name_of(text_of(raw, "ActionsSuppressor")), *waits)
