"""Where checkpoints go, from the environment."""

from __future__ import annotations

import ssl
from pathlib import Path

from appliance.audit.delivery.files import Folder
from appliance.audit.delivery.heads import Channel
from appliance.audit.delivery.syslog import Syslog
from appliance.lib import env
from appliance.lib.env import SettingError

DIR = "APPLIANCE_CHECKPOINT_DIR"
SYSLOG = "APPLIANCE_CHECKPOINT_SYSLOG"
SYSLOG_CA = "APPLIANCE_CHECKPOINT_SYSLOG_CA"


def channels() -> list[Channel]:
    """None where the site set none. Raises SettingError.

    A folder that is not there yet is no mistake of the settings: it may be mounted later, and until then is a problem.
    """
    found: list[Channel] = []
    if folder := env.text(DIR):
        if not Path(folder).is_absolute():
            raise SettingError(f"{DIR}: {folder!r} is not a whole path, from / on.")
        found.append(Folder(Path(folder)))
    address = env.socket_address(SYSLOG)
    if isinstance(address, str):
        raise SettingError(f"{SYSLOG}: {address!r} is not host:port.")
    if address is not None:
        found.append(Syslog(*address, _ca_file()))
    return found


def _ca_file() -> Path | None:
    given = env.text(SYSLOG_CA)
    if not given:
        return None
    try:
        ssl.create_default_context(cafile=given)
    except (OSError, ssl.SSLError) as error:
        raise SettingError(f"{SYSLOG_CA}: {given} cannot be read as certificates ({error}).") from None
    return Path(given)
