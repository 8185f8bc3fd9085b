"""Checks the dependencies against deny.toml, without cargo-deny and offline.

Licences, sources, bans and duplicates, as far as Cargo.lock and the crates'
own manifests tell. Known vulnerabilities are cargo-deny's to find.
"""

import re
import subprocess
import sys
import tomllib


def main() -> int:
    with open("deny.toml", "rb") as file:
        rules = tomllib.load(file)
    with open("Cargo.lock", "rb") as file:
        lock = tomllib.load(file)["package"]
    used = resolved(rules["graph"]["targets"])
    faults = [
        *licences(used, rules["licenses"]),
        *sources(lock),
        *bans(used, rules["bans"]),
    ]
    for fault in faults:
        print(fault, file=sys.stderr)
    if not faults:
        print(f"{len(used)} crates, and nothing against any of them")
    return 1 if faults else 0


def resolved(targets):
    """The packages that a build for any of the targets uses."""
    used = {}
    for target in targets:
        text = subprocess.run(
            ["cargo", "tree", "--locked", "--target", target, "--edges", "normal,build",
             "--prefix", "none", "--no-dedupe", "--format", "{p}|{l}"],
            check=True,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        ).stdout
        for line in filter(None, text.splitlines()):
            # name, "v" and version, and what kind of crate it is
            package, licence = line.split("|", 1)
            name, version = package.split()[:2]
            used[name, version] = {
                "name": name,
                "version": version.removeprefix("v"),
                "license": licence.strip(),
            }
    return [used[key] for key in sorted(used)]


def named(package):
    return f"{package['name']} {package['version']}"


def licences(used, rules):
    allowed = set(rules["allow"])
    exceptions = {entry["crate"]: set(entry["allow"]) for entry in rules["exceptions"]}
    for package in used:
        text = package["license"]
        if not text:
            yield f"{named(package)}: its manifest states no licence"
        elif not allows(text, allowed | exceptions.get(package["name"], set())):
            yield f"{named(package)}: its licence, {text}, is not among those of deny.toml"
    for crate in exceptions.keys() - {package["name"] for package in used}:
        yield f"deny.toml: the exception for {crate} is for nothing; remove it"


def allows(text, allowed):
    """Whether an SPDX expression is met by allowed licences alone.

    The grammar is that of the SPDX specification, annex D, with "/" for OR as
    older manifests have it. AND binds tighter than OR.
    """
    tokens = re.findall(r"\(|\)|[^\s()/]+|/", text)
    at = 0

    def one():
        nonlocal at
        token = tokens[at]
        at += 1
        if token == "(":
            met = either()
            at += 1
            return met
        if at < len(tokens) and tokens[at] == "WITH":
            token = f"{token} WITH {tokens[at + 1]}"
            at += 2
        return token in allowed or token.removesuffix("+") in allowed

    def both():
        nonlocal at
        met = one()
        while at < len(tokens) and tokens[at] == "AND":
            at += 1
            met = one() and met
        return met

    def either():
        nonlocal at
        met = both()
        while at < len(tokens) and tokens[at] in ("OR", "/"):
            at += 1
            met = both() or met
        return met

    return either()


def sources(lock):
    for package in lock:
        source = package.get("source")
        if source is None:
            if package["name"] != "adit":
                yield f"{named(package)}: comes from a path; only the registry is allowed"
        elif not source.startswith("registry+https://github.com/rust-lang/crates.io-index"):
            yield f"{named(package)}: comes from {source}; only crates.io is allowed"
        elif "checksum" not in package:
            yield f"{named(package)}: has no checksum in Cargo.lock"


def bans(used, rules):
    banned = {entry["crate"] for entry in rules["deny"]}
    skipped = [entry["crate"].split("@") for entry in rules["skip"]]
    by_name = {}
    for package in used:
        if package["name"] in banned:
            yield f"{named(package)}: is banned by deny.toml"
        if [package["name"], package["version"]] not in skipped:
            by_name.setdefault(package["name"], []).append(package["version"])
    for name, versions in by_name.items():
        if len(versions) > 1:
            yield f"{name}: is there in several versions, {', '.join(versions)}"


if __name__ == "__main__":
    sys.exit(main())
