"""Drives the oras Python client: one operation a run, its outcome as one line of JSON."""

import argparse
import hashlib
import json
import os

import oras.client
import oras.oci
import oras.provider


def push(client, options):
    """Pushes one file, whole or in chunks, with a subject if one is named."""
    subject = None
    if options.subject:
        media_type, digest, size = options.subject.split(",")
        subject = oras.oci.Subject(media_type, digest, int(size))
    response = client.push(
        target=options.target,
        files=[options.file],
        disable_path_validation=True,
        subject=subject,
        do_chunked=bool(options.chunk),
        chunk_size=options.chunk or 1 << 20,
    )
    return {"status": response.status_code, "subject": response.headers.get("OCI-Subject")}


def pull(client, options):
    """Pulls into a folder and tells the sha256 of each file."""
    files = client.pull(target=options.target, outdir=options.file)
    digests = {}
    for name in files:
        with open(name, "rb") as opened:
            digests[os.path.basename(name)] = hashlib.sha256(opened.read()).hexdigest()
    return {"files": digests}


def tags(client, options):
    return {"tags": client.get_tags(options.target)}


def delete(client, options):
    name, tag = options.target.rsplit(":", 1)
    return {"deleted": client.delete_tags(name, [tag])}


def main():
    operations = {"push": push, "pull": pull, "tags": tags, "delete": delete}
    parser = argparse.ArgumentParser()
    parser.add_argument("operation", choices=operations)
    parser.add_argument("target")
    parser.add_argument("--file")
    parser.add_argument("--subject", help="media type, digest and size, joined by commas")
    parser.add_argument("--chunk", type=int, default=0, help="bytes in a chunk; 0 sends a blob whole")
    options = parser.parse_args()
    client = oras.client.OrasClient(insecure=True)
    print(json.dumps(operations[options.operation](client, options)))


main()
