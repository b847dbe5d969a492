"""The demand of production, from metrics that Prometheus scraped."""

from pathlib import Path

import pytest

from rushhour.agent.metrics import render
from rushhour.cli.main import cli
from rushhour.errors import InsufficientDataError, UsageError
from rushhour.forecast.scraped import parse_scrape, scraped_demand
from rushhour.forecast.setting import measured_setting
from rushhour.jobs.size.advice import size_pools
from rushhour.jobs.size.reading import read_for_sizing
from rushhour.jobs.size.sizes import PoolSize
from tests.unit.forecast_runs import measured
from tests.unit.saved_runs import save

BUCKETS = 28


def histogram(**places: int) -> list[object]:
    """Counts by the place of a bucket, `b17=100`; the sum lies in the middle of each."""
    counts = [0] * BUCKETS
    for place, count in places.items():
        counts[int(place[1:])] = count
    seconds = sum(count * 0.72e-6 * 2**place for place, count in enumerate(counts))
    return [counts, seconds]


def figures(checkouts: int, **changes: object) -> dict[str, object]:
    """A pool of 10 + 5 in each of two processes, which is held for about 0.1 s."""
    plain: dict[str, object] = {
        "used": 4,
        "idle": 6,
        "pending": 0,
        "leaked": 0,
        "idle_max": 20,
        "max": 30,
        "timeouts": 0,
        "use": histogram(b17=checkouts),
        "create": histogram(b14=20),
        "wait": histogram(b0=checkouts),
    }
    return plain | changes


def text(checkouts: int, **changes: object) -> str:
    return render({"127.0.0.1:5432/shop": figures(checkouts, **changes)}, 2)


def test_rates_holds_and_settings_are_those_of_the_agent() -> None:
    found = scraped_demand(parse_scrape("now.prom", text(36_000)), 3600)
    (pool,) = found.pools
    assert (pool.name, pool.size, pool.max_overflow) == ("127.0.0.1:5432/shop", 10, 5)
    assert pool.hold.mean_s == pytest.approx(0.0944, rel=0.01)
    assert found.requests_per_s == pytest.approx(10)
    assert (found.processes, found.threads) == (2, None)


def test_two_texts_are_subtracted() -> None:
    earlier, later = parse_scrape("a", text(30_000)), parse_scrape("b", text(36_000))
    found = scraped_demand(later, 60, earlier)
    assert found.requests_per_s == pytest.approx(100)
    assert found.pools[0].checkouts == 6000
    with pytest.raises(InsufficientDataError, match="name the earlier one first"):
        scraped_demand(earlier, 60, later)


def test_a_text_without_histograms_is_refused_by_name() -> None:
    without = "\n".join(line for line in text(5000).splitlines() if "_bucket" not in line)
    with pytest.raises(UsageError, match="no histogram db_client_connection_use_time_seconds"):
        parse_scrape("now.prom", without + "\n")
    with pytest.raises(UsageError, match="no such metric"):
        parse_scrape("now.prom", "# TYPE up gauge\nup 1\n")


@pytest.mark.parametrize(
    "broken",
    [
        "<html>502</html>",
        "up{ 1",
        "\x00\x01",
        '{"a": 1}',
        "a b c d e",
        text(5000).replace("} 5000", "} NaN"),
        text(5000).replace('le="', 'le="x'),
    ],
)
def test_what_is_no_metrics_text_is_refused(broken: str) -> None:
    with pytest.raises(UsageError, match=r"now\.prom"):
        parse_scrape("now.prom", broken)


def test_a_text_that_is_cut_at_any_line_is_refused() -> None:
    lines = text(36_000).splitlines(keepends=True)
    assert parse_scrape("now.prom", "".join(lines)).use
    for at in range(len(lines)):
        with pytest.raises(UsageError, match=r"now\.prom"):
            parse_scrape("now.prom", "".join(lines[:at]))
    with pytest.raises(UsageError, match="the text is cut"):
        parse_scrape("now.prom", "".join(lines).removesuffix("\n"))


def test_a_text_that_lost_any_series_of_its_check_outs_or_leaks_is_refused() -> None:
    lines = text(36_000).splitlines(keepends=True)
    for at, line in enumerate(lines):
        if "use_time" in line and "sum" not in line and not line.startswith("#") and ' le="' not in line:
            needed = 'le="+Inf"' in line or "_count" in line
        else:
            needed = line.startswith(("rushhour_pool_leaked", "rushhour_agent_processes"))
        if needed:
            with pytest.raises(UsageError, match=r"now\.prom"):
                parse_scrape("now.prom", "".join(lines[:at] + lines[at + 1 :]))


def test_a_text_with_a_series_twice_or_with_buckets_that_fall_is_refused() -> None:
    whole = text(36_000)
    with pytest.raises(UsageError, match="stands there twice"):
        parse_scrape("now.prom", whole + whole)
    last = next(line for line in whole.splitlines() if "use_time" in line and 'le="+Inf"' in line)
    bucket = next(line for line in whole.splitlines() if "use_time" in line and line.endswith("} 36000"))
    assert bucket != last
    with pytest.raises(UsageError, match="fewer check-outs up to a longer time"):
        parse_scrape("now.prom", whole.replace(bucket, bucket.replace("} 36000", "} 99000")))


def test_a_leak_and_few_check_outs_are_refused() -> None:
    with pytest.raises(InsufficientDataError, match=r"3 connections of .*shop have leaked"):
        scraped_demand(parse_scrape("now.prom", text(36_000, leaked=3)), 3600)
    with pytest.raises(InsufficientDataError, match="at most 12 check-outs"):
        scraped_demand(parse_scrape("now.prom", text(12)), 3600)


def test_buckets_need_not_be_powers_of_two() -> None:
    lines = [
        "# TYPE db_client_connection_use_time_seconds histogram",
        *(
            f'db_client_connection_use_time_seconds_bucket{{le="{bound}"}} {count}'
            for bound, count in (("0.005", 0), ("0.01", 900), ("0.025", 1000), ("+Inf", 1000))
        ),
        "db_client_connection_use_time_seconds_sum 8.7",
        "db_client_connection_use_time_seconds_count 1000",
    ]
    found = scraped_demand(parse_scrape("now.prom", "\n".join(lines) + "\n"), 100)
    assert found.pools[0].hold.mean_s == pytest.approx(0.0087)
    assert 0.01 <= found.pools[0].hold.at(0.95) <= 0.025


@pytest.mark.long
def test_the_command_sizes_production(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "now.prom"
    path.write_text(text(144_000))
    assert cli.main(["size", str(path), "--over", "1h"], standalone_mode=False) == 0
    assert "for 40.0 check-outs a second" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(UsageError, match="--over"):
        read_for_sizing([path], None)
    with pytest.raises(UsageError, match="--customers"):
        cli.main(["size", str(path), "--over", "1h", "--customers", "10"], standalone_mode=False)
    with pytest.raises(UsageError, match="cannot be joined"):
        read_for_sizing([path, save(tmp_path / "run", measured()).path], 60.0)


SERIES = '{db_client_connection_pool_name="127.0.0.1:5432/shop"}'


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-1"])
@pytest.mark.parametrize(
    "metric",
    [
        f"rushhour_pool_leaked_connections{SERIES} 0",
        f"db_client_connection_timeouts_total{SERIES} 0",
        f"db_client_connection_idle_max{SERIES} 20",
        f"db_client_connection_max{SERIES} 30",
        "rushhour_agent_processes 2",
    ],
)
def test_a_gauge_without_a_number_is_not_taken_for_zero(metric: str, value: str) -> None:
    whole = text(36_000)
    assert metric in whole
    with pytest.raises(UsageError, match=metric.replace("{", " ").partition(" ")[0]):
        parse_scrape("now.prom", whole.replace(metric, f"{metric.rpartition(' ')[0]} {value}"))


@pytest.mark.parametrize("processes", ["0", "1.5", "1e9"])
def test_a_number_of_processes_that_cannot_be_is_refused(processes: str) -> None:
    with pytest.raises(UsageError, match="a whole number of 1 to 10,000 is expected"):
        parse_scrape("now.prom", text(36_000).replace("processes 2", f"processes {processes}"))


def of_instances(*pages: str) -> str:
    """Join pages as Prometheus federates them: each series has the label of its instance."""
    families: dict[str, list[str]] = {}
    for instance, page in enumerate(pages):
        name = ""
        for line in page.splitlines(keepends=True):
            if line.startswith("# HELP"):
                name = line.split()[2]
            if line.startswith("#"):
                families.setdefault(name, [])
                if not instance:
                    families[name].append(line)
                continue
            label = f'instance="{instance}"'
            labelled = (
                line.replace("{", f"{{{label},", 1) if "{" in line else line.replace(" ", f"{{{label}}} ", 1)
            )
            families[name].append(labelled)
    return "".join(line for lines in families.values() for line in lines)


def test_a_leak_of_any_instance_counts_and_processes_are_summed() -> None:
    found = scraped_demand(parse_scrape("now.prom", of_instances(text(36_000), text(36_000))), 3600)
    assert (found.instances, found.processes) == (2, 2)
    assert (found.pools[0].size, found.pools[0].max_overflow) == (10, 5)
    assert found.requests_per_s == pytest.approx(20)
    leaking = of_instances(text(36_000, leaked=5), text(36_000))
    with pytest.raises(InsufficientDataError, match=r"5 connections of .* have leaked"):
        scraped_demand(parse_scrape("now.prom", leaking), 3600)


@pytest.mark.parametrize("metric", ["use_time", "create_time"])
@pytest.mark.parametrize("seconds", ["1e9", "0.000001"])
def test_a_sum_that_its_buckets_cannot_have_is_refused(metric: str, seconds: str) -> None:
    lines = [
        line.rpartition(" ")[0] + f" {seconds}\n" if f"{metric}_seconds_sum" in line else line
        for line in text(36_000).splitlines(keepends=True)
    ]
    with pytest.raises(UsageError, match=r"sums up to .* and by its buckets it is"):
        parse_scrape("now.prom", "".join(lines))


def test_texts_of_different_services_are_not_subtracted() -> None:
    shop = parse_scrape("shop.prom", text(30_000))
    bank = parse_scrape("bank.prom", text(36_000).replace("5432/shop", "5432/bank"))
    with pytest.raises(UsageError, match="they are of different services"):
        scraped_demand(bank, 3600, shop)
    both = parse_scrape("both.prom", render({"a": figures(30_000), "b": figures(30_000)}, 2))
    with pytest.raises(InsufficientDataError, match="no longer has the pools b of both"):
        scraped_demand(parse_scrape("a.prom", render({"a": figures(36_000)}, 2)), 3600, both)


def test_check_outs_that_timed_out_leave_the_size_open() -> None:
    earlier = parse_scrape("a", text(30_000, timeouts=900))
    with pytest.raises(InsufficientDataError, match=r"900 check-outs of .* timed out, beside 36,000"):
        scraped_demand(parse_scrape("b", text(36_000, timeouts=900)), 3600)
    assert scraped_demand(parse_scrape("b", text(36_000, timeouts=903)), 3600, earlier).pools
    with pytest.raises(InsufficientDataError, match="its counters are below those of the earlier text"):
        scraped_demand(parse_scrape("b", text(36_000, timeouts=3)), 3600, earlier)


def sized(*texts: str, over_s: float = 3600) -> PoolSize:
    scrapes = [parse_scrape(f"{number}.prom", each) for number, each in enumerate(texts)]
    demand = scraped_demand(scrapes[-1], over_s, scrapes[0] if len(scrapes) > 1 else None)
    (found,) = size_pools(demand, measured_setting(demand), max_connections=None).pools
    return found


@pytest.mark.parametrize(
    ("waits", "bounds_s"),
    [
        ({"b0": 36_000}, (0.0, 64e-6)),
        ({"b0": 35_500, "b19": 500}, (2**18 / 1e6, 2**19 / 1e6)),
        ({"b0": 35_700, "b19": 300}, (0.0, 64e-6)),
        ({"b19": 361}, (2**18 / 1e6, 2**19 / 1e6)),  # of those alone that waited
    ],
)
def test_the_slowest_hundredth_of_the_waits_is_read(
    waits: dict[str, int], bounds_s: tuple[float, float]
) -> None:
    (pool,) = scraped_demand(parse_scrape("now.prom", text(36_000, wait=histogram(**waits))), 3600).pools
    assert pool.waited_p99_s == pytest.approx(bounds_s)


def test_waits_that_contradict_the_model_leave_the_size_open() -> None:
    long = sized(text(36_000, wait=histogram(b0=35_000, b20=1000)))
    assert long.pool_size is None
    assert "the slowest hundredth of production's check-outs waited for 524 to 1049 ms" in long.reasons[0]
    assert "bursts, or hours with more traffic than the mean" in long.reasons[0]
    none = sized(text(36_000), over_s=120)  # and not an hour: the pool would be full
    assert none.pool_size is None
    assert "or --over is another time" in none.reasons[0]


def test_waits_of_two_texts_are_subtracted_and_may_be_missing() -> None:
    before = text(30_000, wait=histogram(b0=20_000, b20=10_000))
    after = text(36_000, wait=histogram(b0=26_000, b20=10_000))
    scrapes = [parse_scrape(name, page) for name, page in (("a", before), ("b", after))]
    (pool,) = scraped_demand(scrapes[1], 600, scrapes[0]).pools
    assert pool.waited_p99_s == pytest.approx((0.0, 64e-6))
    without = "".join(line for line in after.splitlines(keepends=True) if "wait_time" not in line)
    (pool,) = scraped_demand(parse_scrape("b", without), 600, scrapes[0]).pools
    assert pool.waited_p99_s is None
    with pytest.raises(UsageError, match=r"wait_time_seconds of .* has 36000 check-outs and not as many"):
        parse_scrape(
            "b",
            after.replace(
                "} 36000\ndb_client_connection_wait_time_seconds_sum",
                "} 9\ndb_client_connection_wait_time_seconds_sum",
            ),
        )


def test_a_time_in_which_the_pool_could_not_have_held_so_much_is_refused() -> None:
    scrape = parse_scrape("now.prom", text(36_000))  # 3,397 s of holds, in a pool of 30: 113 s at least
    with pytest.raises(UsageError, match=r"--over 60s: .* the pool has 30 at most"):
        scraped_demand(scrape, 60)
    assert scraped_demand(scrape, 120).pools


def federated(page: str, at_ms: int) -> str:
    """A page as Prometheus's federation answers it: each name a family without a type, with timestamps."""
    lines: list[str] = []
    for line in page.splitlines():
        name = line.partition("{")[0]
        if not line.startswith("#"):
            typed = f"# TYPE {name} untyped"
            lines += [*([] if typed in lines else [typed]), f"{line} {at_ms}"]
    return "\n".join(lines) + "\n"


def test_an_instance_that_was_restarted_does_not_hide_behind_the_others() -> None:
    before = parse_scrape("a", of_instances(text(30_000), text(30_000)))
    for after in (of_instances(text(500), text(66_000)), of_instances(text(66_000))):
        with pytest.raises(InsufficientDataError, match="or gone, in all of its instances or in one"):
            scraped_demand(parse_scrape("b", after), 600, before)
    timed_out = parse_scrape("a", of_instances(text(30_000, timeouts=9), text(30_000)))
    after = of_instances(text(36_000, timeouts=1), text(36_000, timeouts=20))
    with pytest.raises(InsufficientDataError, match="or gone, in all of its instances or in one"):
        scraped_demand(parse_scrape("b", after), 600, timed_out)
    joined = of_instances(text(33_000), text(33_000), text(2000))  # a third one, or it was not scraped before
    with pytest.raises(InsufficientDataError, match="an instance that the earlier text lacks"):
        scraped_demand(parse_scrape("b", joined), 100, before)


def test_instances_of_unlike_processes_are_counted_as_one() -> None:
    unlike = render({"127.0.0.1:5432/shop": figures(36_000)}, 4)
    found = scraped_demand(parse_scrape("now", of_instances(text(36_000), unlike)), 3600)
    assert (found.instances, found.processes) == (1, 6)


def test_what_federation_and_openmetrics_write_is_read_alike() -> None:
    page = of_instances(text(36_000), text(36_000))
    plain = scraped_demand(parse_scrape("now", page), 3600)
    assert scraped_demand(parse_scrape("now", federated(page, 1_764_000_000_000)), 3600) == plain
    exemplars = page.replace("db_client_connection_timeouts_total ", "db_client_connection_timeouts ", 2)
    exemplars = "".join(
        f'{line} # {{trace_id="7f"}} 0.09\n'
        if "use_time_seconds_bucket" in line and "Inf" in line
        else f"{line}\n"
        for line in exemplars.splitlines()
    )
    assert scraped_demand(parse_scrape("now", f"{exemplars}# EOF\n"), 3600) == plain


def test_timestamps_are_held_against_the_time_that_was_said() -> None:
    before = parse_scrape("a", federated(of_instances(text(30_000)), 1_764_000_000_000))
    after = parse_scrape("b", federated(of_instances(text(36_000)), 1_764_003_600_000))
    assert scraped_demand(after, 3500, before).requests_per_s == pytest.approx(6000 / 3500)
    with pytest.raises(UsageError, match=r"--over 600s: .* b was scraped 3600 s after a"):
        scraped_demand(after, 600, before)


def test_what_cannot_be_summed_is_refused() -> None:
    other = text(36_000).replace('le="0.131072"', 'le="0.13"')
    with pytest.raises(UsageError, match="have different buckets, which cannot be summed"):
        parse_scrape("now", of_instances(text(36_000), other))
    with pytest.raises(InsufficientDataError, match="other buckets than the earlier text"):
        scraped_demand(parse_scrape("b", other), 600, parse_scrape("a", text(30_000)))
    page = of_instances(text(36_000), text(36_000))
    with pytest.raises(UsageError, match="rushhour_agent_processes of one of the instances is missing"):
        parse_scrape("now", page.replace('rushhour_agent_processes{instance="0"} 2\n', ""))
    unnamed = of_instances(text(36_000), text(36_000)).replace("db_client_connection_pool_name", "pool")
    with pytest.raises(UsageError, match=r"2 series of .*use_time_seconds have no label db_client"):
        parse_scrape("now", unnamed)
    with pytest.raises(UsageError, match=r"36000\.5 check-outs in a bucket: a rate, and no count"):
        parse_scrape("now", text(36_000).replace("} 36000\n", "} 36000.5\n"))


@pytest.mark.parametrize("gone", ["idle_max", "idle_max or max"])
def test_a_pool_whose_size_the_metrics_do_not_say_is_not_one_without_a_limit(gone: str) -> None:
    page = "".join(
        line
        for line in text(36_000).splitlines(keepends=True)
        if not any(f"connection_{name}" in line for name in gone.split(" or "))
    )
    size = sized(page)
    assert size.pool_size
    assert "how large it is now in each process, the metrics do not say" in size.reasons
    uneven = sized(text(36_000, idle_max=5, max=7))  # in two processes
    assert "how large it is now in each process, the metrics do not say" in uneven.reasons


@pytest.mark.long
def test_many_check_outs_of_many_processes_are_those_of_no_single_one() -> None:
    per_s = 12_000
    counts = figures(
        3600 * per_s, use=histogram(b10=3600 * per_s), wait=histogram(b0=3600 * per_s), idle_max=200, max=400
    )
    size = sized(render({"127.0.0.1:5432/shop": counts}, 20))
    assert size.pool_size == 1
    assert size.together is not None
    assert per_s * 0.7e-3 < size.together < 5 * per_s * 0.7e-3  # more than are out on average, of three parts
    assert "is enough in each process" in size.reasons[0]
