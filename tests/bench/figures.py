"""What the benches reckon with: pure, no process and no clock.

Times of reports are microseconds, as touchline-flood says them; here they become
milliseconds. Memory is bytes, time of samples seconds."""
import csv
import re
import statistics


class NotMeasured(Exception):
    """The report or the samples do not say it."""


# ---- reports of touchline-flood ------------------------------------------------------

def art(report, histogram):
    """The average response time in ms, with median and 90th percentile: "first" from
    dialling to the first frame, "last" from an event to its last watcher."""
    h = report.get(histogram + "_us")
    if not h or not h.get("count"):
        raise NotMeasured(f"nothing was counted as {histogram}")
    return {"mean": h["mean"] / 1e3, "p50": h["p50"] / 1e3, "p90": h["p90"] / 1e3,
            "count": h["count"]}


def mean_of_buckets(histogram):
    """From [lowest, highest, count] of each bucket; None: it is empty."""
    n = sum(count for _, _, count in histogram["buckets"])
    if not n:
        return None
    return sum((low + high) / 2 * count for low, high, count in histogram["buckets"]) / n


FAULTS = ("failed", "lost", "duplicates", "reordered", "silent")


def faults(report):
    """What was wrong in a run, as words; empty: nothing."""
    said = [f"{report[name]:,} {name}" for name in FAULTS if report[name]]
    why = [f"{name} {n:,}" for name, n in (report.get("failures") or {}).items()
           if isinstance(n, int) and n]
    if why:
        said.append(f"({', '.join(why)})")
    published = report.get("published") or {}
    if published.get("refused"):
        said.append(f"{published['refused']:,} refused")
    return ", ".join(said)


# ---- several rounds ----------------------------------------------------------------------

def middle(values):
    """Median and extremes, or None where nothing was measured."""
    values = [v for v in values if v is not None]
    if not values:
        return None
    return {"median": statistics.median(values), "least": min(values), "most": max(values),
            "of": len(values)}


def ratio(ours, limits):
    """The median of the ratios within each round: what was measured in the same minute is
    compared."""
    return middle([a / b if a is not None and b else None for a, b in zip(ours, limits)])


# ---- samples of router-ctl ------------------------------------------------------------------

def kind_of(process):
    """http1, http2 are http; the rest is what it is."""
    return re.sub(r"\d+$", "", process)


def samples(lines):
    """[{"time", "connections", "memory": {kind: bytes}}], of the rows of `router-ctl
    sample` (an iterable of lines); all kinds together are "all". A moment without a
    sum is still being written, and left out."""
    moments, out = {}, []
    for row in csv.DictReader(lines):
        if None in row.values() or not row["private"]:
            continue
        at = moments.setdefault(row["time"], {"time": float(row["time"]), "memory": {}})
        kind = kind_of(row["process"])
        at["memory"][kind] = at["memory"].get(kind, 0) + int(row["private"])
        if kind == "all":
            at["connections"] = int(row["connections"])
            out.append(at)
    return out


def parts_of(mem):
    """{"http: ring": bytes} of what `router-ctl --json mem` says, by kind of process;
    without the sums."""
    out = {}
    for row in mem["memory"]:
        name = f"{kind_of(row['process'])}: {row['memory']}"
        if not row["memory"].startswith("="):
            out[name] = out.get(name, 0) + row["bytes"]
    return out


def grown(before, after, least):
    """[(part, before, after)] of what has grown by at least so many bytes, most first."""
    found = [(k, before.get(k, 0), v) for k, v in after.items()]
    return sorted((x for x in found if x[2] - x[1] >= least), key=lambda x: x[1] - x[2])


def within(found, begin, end):
    return [s for s in found if begin <= s["time"] <= end]


def memory_of(found):
    """The median of each kind, in bytes."""
    if not found:
        raise NotMeasured("no sample lies in this phase")
    return {kind: statistics.median(s["memory"].get(kind, 0) for s in found)
            for kind in found[-1]["memory"]}


def held(found):
    """The fewest connections that the servers had at any of these moments."""
    if not found:
        raise NotMeasured("no sample lies in this phase")
    return min(s["connections"] for s in found)


def slope(points):
    """Of (seconds, value), in value an hour: the median of the slopes of all pairs
    (Theil and Sen), which a sample that lies beside the line does not move. Of many
    points every k-th is taken. None: there are fewer than three."""
    points = points[::max(1, len(points) // 300)]
    if len(points) < 3:
        return None
    return 3600 * statistics.median((b[1] - a[1]) / (b[0] - a[0])
                                    for i, a in enumerate(points) for b in points[i + 1:]
                                    if b[0] > a[0])


def slopes(found, clients):
    """Of each kind, in bytes per connection and hour."""
    out = {}
    for kind in (found[-1]["memory"] if found else ()):
        s = slope([(p["time"], p["memory"].get(kind, 0)) for p in found])
        out[kind] = None if s is None else s / clients
    return out


# ---- tables --------------------------------------------------------------------------------

def table(rows):
    """Lines of columns; the first row is the head, the first column words."""
    width = [max(len(str(row[i])) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(str(cell).ljust(w) if i == 0 else str(cell).rjust(w)
                               for i, (cell, w) in enumerate(zip(row, width))).rstrip()
                     for row in rows)


def ms(value):
    """A time in ms, as people read it."""
    if value is None:
        return "-"
    if value >= 10000:
        return f"{value / 1000:.1f} s"
    return f"{value:.0f} ms" if value >= 100 else f"{value:.1f} ms"


def megabytes(value):
    return f"{value / (1 << 20):.1f} MB"
