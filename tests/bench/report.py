# SPDX-License-Identifier: Apache-2.0
"""Goals and tables as Markdown."""


def number(value):
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(columns, rows):
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(number(value) for value in row) + " |" for row in rows]
    return "\n".join(lines)


def verdict(goal):
    return "not measured" if goal.get("ratio") is None else "met" if goal["met"] else "**missed**"


def goals_table(goals):
    rows = [[g["what"], g.get("against", ""), g["goal"], g.get("ours", ""), g.get("peer", ""), g.get("ratio"), verdict(g)]
            for g in goals]
    return table(["what", "against", "goal", "ours", "peer", "ratio", ""], rows)


def notes(goals, why):
    """For each goal that is missed: what was tried, what bounds it."""
    lines = []
    for goal in goals:
        if goal.get("ratio") is None or goal["met"]:
            continue
        note = goal.get("note") or next((text for key, text in why if key in f"{goal['what']} / {goal.get('against', '')}"), "")
        lines.append(f"- **{goal['what']}** ({goal.get('against', '')}, {number(goal['ratio'])}): {note or 'no note.'}")
    return "\n".join(lines)


def markdown(results, why):
    met = sum(1 for g in results["goals"] if g["met"])
    parts = ["<!-- SPDX-License-Identifier: Apache-2.0 -->", "# Benchmarks", "",
             f"Written by `{results['command']}` on {results['date']}: {results['machine']}. Of {len(results['goals'])} goals "
             f"{met} are met. Every row pairs us and the peer in the same run, in turns; on a shared machine only the ratios "
             "mean something.", "", "## Goals", "", goals_table(results["goals"])]
    missed = notes(results["goals"], why)
    if missed:
        parts += ["", "### What bounds those that are missed", "", missed]
    for section in results["sections"]:
        parts += ["", f"## {section['title']}"]
        if section.get("text"):
            parts += ["", section["text"]]
        for one in section.get("tables", []):
            parts += ["", f"**{one['title']}**", "", table(one["columns"], one["rows"])]
        for plot in section.get("plots", []):
            parts += ["", f"![{section['title']}]({results['plots_folder']}/{plot})"]
    for skipped in results["skipped"]:
        parts += ["", f"Skipped: {skipped}"]
    for failed in results.get("failed", []):
        parts += ["", f"**Failed**: {failed}"]
    return "\n".join(parts) + "\n"
