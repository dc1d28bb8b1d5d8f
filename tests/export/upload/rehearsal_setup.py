"""Fill a fresh server: a collection like the zoo's, its workspace and an uploader's.

Runs in the environment of the server; writes the tokens as JSON.
"""

import asyncio
import json
import sys
from pathlib import Path

from hypha_rpc import connect_to_server

SECONDS = 600
ID_PARTS = {
    "animal_adjective": ["affable", "brave", "calm", "daring", "eager", "frank", "gentle"],
    "animal": ["otter", "lynx", "heron", "newt", "badger", "marten"],
}


async def fill(url: str, root: str) -> dict[str, str]:
    server = await connect_to_server({"server_url": url, "token": root, "method_timeout": SECONDS})
    tokens = {}
    for workspace, permission in (("bioimage-io", "admin"), ("ws-uploader", "read_write")):
        settings = {"name": workspace, "description": workspace, "persistent": True}
        await server.create_workspace({**settings, "owners": ["root"]}, overwrite=True)
        tokens[permission] = await server.generate_token(
            {"workspace": workspace, "permission": permission}
        )
    zoo = await connect_to_server(
        {
            "server_url": url,
            "token": tokens["admin"],
            "workspace": "bioimage-io",
            "method_timeout": SECONDS,
        }
    )
    manager = await zoo.get_service("public/artifact-manager")
    await manager.create(
        alias="bioimage.io",
        type="collection",
        manifest={"name": "Zoo", "description": "A collection like the zoo's."},
        config={
            "permissions": {"*": "r", "@": "r+", "rev1": "rw+", "rev2": "rw"},
            "id_parts": ID_PARTS,
        },
    )
    await zoo.disconnect()
    await server.disconnect()
    return tokens


if __name__ == "__main__":
    address, root_token, target = sys.argv[1:]
    Path(target).write_text(json.dumps(asyncio.run(fill(address, root_token))))
