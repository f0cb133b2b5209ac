"""Why a private connection could not be made: libldap says only that it could not, so the certificate is looked at."""

from __future__ import annotations

import socket
import ssl
from urllib.parse import urlsplit

from appliance.accounts.directory.options import Options

# LDAPMessage 1: extendedReq of 1.3.6.1.4.1.1466.20037 (RFC 4511, section 4.14).
_START_TLS = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x16" + b"1.3.6.1.4.1.1466.20037"
_TIMEOUT_S = 1.0


def certificate_problem(options: Options) -> str:
    """What is wrong with the directory's certificate, in words; empty when that is not it."""
    parts = urlsplit(options.url)
    host, port = parts.hostname or "", parts.port or (389 if options.starttls else 636)
    try:
        context = ssl.create_default_context(cafile=options.ca_file or None)
        with socket.create_connection((host, port), _TIMEOUT_S) as plain:
            if options.starttls:
                plain.sendall(_START_TLS)
                plain.recv(1024)
            with context.wrap_socket(plain, server_hostname=host):
                return ""
    except ssl.SSLCertVerificationError as error:
        said = error.verify_message
        if "expired" in said:
            return f"The directory's certificate, or its CA's, has expired ({said})."
        if "mismatch" in said:
            return f"The directory's certificate is for another name ({said})."
        return f"The directory's certificate is not signed by the CA in APPLIANCE_LDAP_CA_FILE ({said})."
    except (ssl.SSLError, OSError):
        return ""
