# SPDX-License-Identifier: Apache-2.0
"""Renders a chart as `helm template` does, for the part of Go's templates that deploy/helm uses.

Actions: `.Values.a.b`, `.Release.Name`, `.Release.Namespace`, if, else, end, and pipelines of quote, toYaml, nindent,
not, add, fail. Whatever else stands in a template is an error, and so is a value that is not there: what this renders, Helm
renders in the same way.
"""
import pathlib
import re

import yaml


class TemplateError(Exception):
    pass


ACTION = re.compile(r"\{\{(-?)\s*(.*?)\s*(-?)\}\}", re.S)
WORD = re.compile(r'"(?:[^"\\]|\\.)*"|\S+')


def tokens(text):
    """('text', str) and ('action', str), with the white space that dashes take away taken away."""
    result, position, trim = [], 0, False
    for match in ACTION.finditer(text):
        before = text[position:match.start()]
        if trim:
            before = before.lstrip()
        if match.group(1):
            before = before.rstrip()
        result += [("text", before), ("action", match.group(2))]
        position, trim = match.end(), bool(match.group(3))
    rest = text[position:]
    result.append(("text", rest.lstrip() if trim else rest))
    return result


def lookup(path, scope):
    value = scope
    for name in path.split(".")[1:]:
        if not isinstance(value, dict) or name not in value:
            raise TemplateError(f"{path}: there is no such value")
        value = value[name]
    return value


def evaluate(expression, scope):
    value = None
    for number, stage in enumerate(expression.split("|")):
        words = WORD.findall(stage.strip())
        if not words:
            raise TemplateError(f"empty stage in '{expression}'")
        function, arguments = words[0], []
        for word in words if function.startswith(".") else words[1:]:
            if word.startswith("."):
                arguments.append(lookup(word, scope))
            elif word.startswith('"'):
                arguments.append(word[1:-1])
            elif re.fullmatch(r"\d+", word):
                arguments.append(int(word))
            else:
                raise TemplateError(f"'{word}' in '{expression}' is not known")
        if number > 0:
            arguments.append(value)
        if function.startswith(".") and len(words) == 1:
            value = arguments[0]
        elif function == "quote" and len(arguments) == 1:
            value = '"' + str(arguments[0]).replace("\\", "\\\\").replace('"', '\\"') + '"'
        elif function == "toYaml" and len(arguments) == 1:
            value = yaml.safe_dump(arguments[0], sort_keys=False, default_flow_style=False).rstrip("\n")
        elif function == "nindent" and len(arguments) == 2:
            value = "\n" + "\n".join(" " * arguments[0] + line for line in str(arguments[1]).split("\n"))
        elif function == "not" and len(arguments) == 1:
            value = not arguments[0]
        elif function == "add" and len(arguments) >= 2:
            value = sum(arguments)
        elif function == "fail" and len(arguments) == 1:
            raise TemplateError(arguments[0])
        else:
            raise TemplateError(f"'{stage.strip()}' is not known")
    return value


def show(value):
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def render(text, scope):
    output, open_ifs = [], []
    for kind, content in tokens(text):
        live = all(branch["taken"] for branch in open_ifs)
        if kind == "text":
            if live:
                output.append(content)
        elif content.startswith("if "):
            open_ifs.append({"taken": bool(evaluate(content[3:], scope)) if live else False, "live": live})
        elif content == "else":
            if not open_ifs:
                raise TemplateError("else without if")
            open_ifs[-1]["taken"] = open_ifs[-1]["live"] and not open_ifs[-1]["taken"]
        elif content == "end":
            if not open_ifs:
                raise TemplateError("end without if")
            open_ifs.pop()
        elif live:
            output.append(show(evaluate(content, scope)))
    if open_ifs:
        raise TemplateError("if without end")
    return "".join(output)


def merge(base, changes):
    result = dict(base)
    for key, value in changes.items():
        result[key] = merge(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
    return result


def template(chart, changes, release="lstmd", namespace="default"):
    """The documents of the chart with these values beside its own."""
    chart = pathlib.Path(chart)
    yaml.safe_load((chart / "Chart.yaml").read_text())
    values = merge(yaml.safe_load((chart / "values.yaml").read_text()), changes)
    scope = {"Values": values, "Release": {"Name": release, "Namespace": namespace}}
    documents = []
    for path in sorted((chart / "templates").glob("*.yaml")):
        documents += [one for one in yaml.safe_load_all(render(path.read_text(), scope)) if one]
    return documents
