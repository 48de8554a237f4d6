"""Drives the Helm SDK: one operation a run, its outcome as one line of JSON."""

import argparse
import hashlib
import json
import os

from helm_python.chart import Chart
from helm_python.registry import RegistryClient, pull


def make(options):
    """Makes a chart with Helm's own template and saves it as an archive."""
    os.makedirs(options.folder, exist_ok=True)
    chart = Chart.create("trial", options.folder)
    return {"archive": chart.save(options.folder)}


def push_chart(options):
    client = RegistryClient(plain_http=True)
    return client.push(options.target, options.remote, plain_http=True)


def pull_chart(options):
    """Pulls into a folder and tells the sha256 of the archive."""
    os.makedirs(options.folder, exist_ok=True)
    pull(options.remote, version=options.version, destination=options.folder, plain_http=True)
    (name,) = os.listdir(options.folder)
    with open(os.path.join(options.folder, name), "rb") as archive:
        return {"name": name, "sha256": hashlib.sha256(archive.read()).hexdigest()}


def tags(options):
    return {"tags": RegistryClient(plain_http=True).tags(options.remote.removeprefix("oci://"))}


def resolve(options):
    return RegistryClient(plain_http=True).resolve(f"{options.remote.removeprefix('oci://')}:{options.version}")


def main():
    operations = {"make": make, "push": push_chart, "pull": pull_chart, "tags": tags, "resolve": resolve}
    parser = argparse.ArgumentParser()
    parser.add_argument("operation", choices=operations)
    parser.add_argument("--target", help="the archive to push")
    parser.add_argument("--remote", help="oci://host/path")
    parser.add_argument("--version")
    parser.add_argument("--folder")
    options = parser.parse_args()
    print(json.dumps(operations[options.operation](options)))


main()
