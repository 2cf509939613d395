#!/usr/bin/env python3
"""render.py JSON [DOCUMENT]: what run.py has measured made into docs/benchmarks.md, and
pictures beside it. Every figure of the document is of the JSON: it is made anew, and
never edited."""
import json
import os
import shutil
import statistics
import subprocess
import sys

LIMIT = "limit"
BEHIND = 99.99  # percent delivered below which a figure is marked
HEAD = """# Benchmarks

Made by `{command}` on {begun} ({minutes}); the next run makes this page anew, so edit
`tests/bench/compare/render.py` instead. What the rows mean for a machine of yours, and how
to measure it, is in [benchmarks-howto.md](benchmarks-howto.md).

```sh elsewhere="half an hour, and it installs the others from Debian"
{command}
```

{state}

## What is compared

Each run is one server, started for it, and one `touchline-flood`, which has all clients,
publishes, and counts; servers, clients and publisher share the processors of one machine,
over loopback. So compare columns, not absolutes: a client that has to read more costs the
server some of its processor. In a round each row is done by all peers one behind the other;
the next round has another order. A figure is the median of {rounds}, with the smallest and
the largest behind it; a ratio is to the limit of the same round, and the median of these.
Messages are {size} bytes. Each server answers each publication, and the publisher waits for
these answers where there is no schedule; latency begins when a message is due.

**The limit** is a server that does nothing but epoll and send: what the machine gives.

{peers}

## In short

The first figure of each row, and its ratio to the limit. **Bold**: the best of those that
are servers. †: not everything had been delivered in time.

{summary}
"""


# ---- numbers ----------------------------------------------------------------------

def number(value):
    """Three digits that count, and commas."""
    if value is None:
        return "-"
    size = abs(value)
    digits = 0 if size >= 100 or value == int(value) else 1 if size >= 10 else 2
    return f"{value:,.{digits}f}"


def clock(seconds):
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def values(data, row, peer, key):
    """{round: value}"""
    return {r["round"]: r["figures"][key] for r in data["results"]
            if r["row"] == row and r["peer"] == peer and "figures" in r
            and r["figures"].get(key) is not None}


def median(of):
    return statistics.median(of.values()) if of else None


def spread(of):
    """(median, least, most), or None"""
    return (median(of), min(of.values()), max(of.values())) if of else None


def ratio(data, row, peer, key):
    """To the limit, by rounds; None: there is none."""
    ours, limit = values(data, row, peer, key), values(data, row, LIMIT, key)
    both = [ours[n] / limit[n] for n in ours if limit.get(n)]
    return statistics.median(both) if both else None


def times(value):
    if value is None:
        return ""
    return f"{value:,.0f}x" if value >= 100 else f"{value:.{1 if value >= 10 else 2}f}x"


def troubles(data, row, peer):
    return sorted({r["trouble"] for r in data["results"]
                   if r["row"] == row and r["peer"] == peer and "trouble" in r})


# ---- tables -----------------------------------------------------------------------

def table(head, lines, right):
    """right: columns from here on are numbers."""
    yield "| " + " | ".join(head) + " |"
    yield "|" + "".join("---|" if i < right else "--:|" for i in range(len(head)))
    for line in lines:
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |"


def peers_of(data, row):
    """Those that have tried."""
    tried = {r["peer"] for r in data["results"] if r["row"] == row}
    return [p for p in data["peers"] if p["name"] in tried]


def is_behind(data, row, peer):
    share = values(data, row, peer, "whole")
    return bool(share) and min(share.values()) < BEHIND


def best(data, row):
    """Of the servers that delivered everything."""
    figure = row["figures"][0]
    found = {p["name"]: median(values(data, row["key"], p["name"], figure["key"]))
             for p in data["peers"] if p["name"] != LIMIT
             and not is_behind(data, row["key"], p["name"])}
    found = {k: v for k, v in found.items() if v is not None}
    return (min if figure["less"] else max)(found, key=found.get) if found else None


def short_cell(data, row, peer, winner):
    key = row["figures"][0]["key"]
    value = median(values(data, row["key"], peer, key))
    if value is None:
        return "-"
    text = number(value) + ("†" if is_behind(data, row["key"], peer) else "")
    if peer == LIMIT:
        return text
    text = f"**{text}**" if peer == winner else text
    compared = times(ratio(data, row["key"], peer, key))
    return f"{text} ({compared})" if compared else text


def summary(data):
    lines = []
    for row in data["rows"]:
        if not peers_of(data, row["key"]):
            continue
        figure, winner = row["figures"][0], best(data, row)
        unit = f", {figure['unit']}" if figure["unit"] else ""
        lines.append([f"{row['title']}: {figure['title']}{unit}",
                      *(short_cell(data, row, p["name"], winner) for p in data["peers"])])
    return table(["", *(p["title"] for p in data["peers"])], lines, 1)


def cell(data, row, peer, figure):
    of = spread(values(data, row, peer, figure["key"]))
    if not of:
        return "-"
    middle, least, most = of
    return number(middle) if least == most else \
        f"{number(middle)} ({number(least)} - {number(most)})"


def detail(data, row):
    """A section of its own: all figures with their spread, and who has none."""
    yield f"### {row['title']}"
    yield ""
    yield row["what"]
    yield ""
    first = row["figures"][0]
    head = ["", *(f["title"] + (f", {f['unit']}" if f["unit"] else "") for f in row["figures"]),
            f"{first['title']}, to the limit"]
    lines, why = [], []
    for peer in peers_of(data, row["key"]):
        name = peer["name"]
        why += [f"- {peer['title']}: {t}" for t in troubles(data, row["key"], name)]
        if not values(data, row["key"], name, first["key"]) and troubles(data, row["key"], name):
            continue
        lines.append([peer["title"],
                      *(cell(data, row["key"], name, f) for f in row["figures"]),
                      times(ratio(data, row["key"], name, first["key"]))])
    if lines:
        yield from table(head, lines, 1)
    if why:
        yield from ["", "No figure:", "", *why]
    yield ""


def comparison(data):
    yield from table(["", "version", "how it runs", "how it is published to",
                      "what it does not do of this"],
                     [[p["title"], p["version"], p["setting"], p["published"], p["lacks"]]
                      for p in data["peers"]], 9)
    if data["skipped"]:
        yield ""
        yield "Not measured, because they could not be had:"
        yield ""
        for s in data["skipped"]:
            yield f"- {s['title']}: {s['reason']}"


def state(data):
    m, done = data["machine"], len(data["results"])
    yield (f"{m['processors']} processors ({m['processor']}{', virtual' if m['virtual'] else ''}), "
           f"{m['memory_gib']} GiB, Linux {m['kernel']}, {m['system']}; a process may open "
           f"{m['files']:,} files. The network is {data['network']}: "
           + ", ".join(f"`{k}` {v}" for k, v in m["sysctls"].items() if v) + ".")
    yield (f"{data['n']:,} clients where nothing else is said, {data['seconds_each']} s of "
           f"publishing or coming and going, {done} runs. The machine's load was "
           f"{data['load_before']:.2f} before the first.")
    if data["interrupted"]:
        last = max((r["round"] for r in data["results"]), default=0)
        yield f"**It was interrupted in round {last} of {data['rounds']}: some rows are not whole.**"
    if data["load_before"] > 0.5:
        yield "**The machine was not quiet: nothing here is its best.**"


# ---- pictures ---------------------------------------------------------------------

# row, figure, file, is the axis logarithmic
PICTURES = (("memory", "bytes", "bench-memory.svg", True),
            ("addressed", "p99", "bench-addressed.svg", True),
            ("addressed-most", "rate", "bench-addressed-most.svg", False),
            ("one", "p50", "bench-one.svg", False),
            ("burst", "rate", "bench-burst.svg", True),
            ("ask", "rate", "bench-connections.svg", False))
PLOT = """set terminal svg size 720,{height} font 'sans,12' background '#ffffff'
set output {path}
set title {title}
set xlabel {label}
set style fill solid 0.7 noborder
set lmargin 24
set tmargin 2.5
set bmargin 3.5
set yrange [-0.6:{last}.6]
set xrange [{least}:*]
{log}set ytics ({names})
set format x '%.0s%c'
set grid x
unset key
plot $runs using 2:1:({least}):2:($1-0.35):($1+0.35):5 with boxxyerror lc rgb variable, \\
     $runs using 2:1:3:4 with xerrorbars lc rgb '#303030' pt 0
"""


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


def script(data, row, figure, path, log):
    """For gnuplot; None: nobody has this figure."""
    bars = [(p["title"], spread(values(data, row["key"], p["name"], figure["key"])), p["name"])
            for p in data["peers"]]
    bars = [b for b in bars if b[1]]
    if not bars:
        return None
    bars.reverse()
    lines = ["$runs << EOD"]
    for i, (_, (middle, least, most), name) in enumerate(bars):
        color = 0x9e9e9e if name == LIMIT else 0x1e6fb8 if name.startswith("touchline") else 0xd98b2b
        lines.append(f"{i} {middle} {least} {most} {color}")
    smallest = min(least for _, (_, least, _), _ in bars)
    log = log and smallest > 0
    lines.append("EOD")
    unit = f", {figure['unit']}" if figure["unit"] else ""
    return "\n".join(lines) + "\n" + PLOT.format(
        height=95 + 26 * len(bars), path=quoted(path), last=len(bars) - 1,
        title=quoted(row["title"]), label=quoted(figure["title"] + unit),
        least=smallest / 2 if log else 0, log="set logscale x\n" if log else "",
        names=", ".join(f"{quoted(title)} {i}" for i, (title, _, _) in enumerate(bars)))


def draw(data, folder):
    """{row: file} of what has been drawn; what is wrong with it is said."""
    drawn, said = {}, []
    if not shutil.which("gnuplot"):
        return {}, ["no pictures: there is no gnuplot here (apt-get install gnuplot-nox)"]
    for key, figure_key, name, log in PICTURES:
        row = next((r for r in data["rows"] if r["key"] == key), None)
        if not row:
            continue
        figure = next(f for f in row["figures"] if f["key"] == figure_key)
        text = script(data, row, figure, os.path.join(folder, name), log)
        if not text:
            continue
        p = subprocess.run(["gnuplot"], input=text, capture_output=True, text=True, check=False)
        if p.returncode or p.stderr.strip():
            said.append(f"{name}: {p.stderr.strip()[-300:]}")
        else:
            drawn[key] = name
    return drawn, said


# ---- the document -----------------------------------------------------------------

def document(data, pictures):
    """pictures: {row: file}"""
    text = HEAD.format(
        command=data["command"], begun=data["begun"],
        minutes=f"{data['seconds'] / 60:.0f} minutes",
        state="\n\n".join(state(data)), size=data.get("size", 100),
        rounds=f"{data['rounds']} rounds" if data["rounds"] > 1 else "one round",
        peers="\n".join(comparison(data)), summary="\n".join(summary(data)))
    lines = ["## Each row", ""]
    for row in data["rows"]:
        if not peers_of(data, row["key"]):
            continue
        lines += detail(data, row)
        if row["key"] in pictures:
            lines += [f"![{row['title']}]({pictures[row['key']]})", ""]
    return text + "\n" + "\n".join(lines).rstrip("\n") + "\n"


def write(data, path):
    """Writes the document and its pictures; lines that say so."""
    folder = os.path.dirname(os.path.abspath(path))
    os.makedirs(folder, exist_ok=True)
    pictures, said = draw(data, folder)
    with open(path, "w", encoding="utf-8") as f:
        f.write(document(data, pictures))
    return said + [f"{path}, {len(pictures)} pictures"]


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as f:
        data = json.load(f)
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(
        os.path.abspath(__file__)))))
    print("\n".join(write(data, sys.argv[2] if len(sys.argv) > 2
                          else os.path.join(root, "docs", "benchmarks.md"))))


if __name__ == "__main__":
    main()
