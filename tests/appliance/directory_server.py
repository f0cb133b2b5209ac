"""A real slapd with TLS and a CA of its own, started by the tests, with entries shaped as OpenLDAP's or as AD's."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import os
import shutil
import signal
import socket
import subprocess
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import ldap
from appliance_desk import until
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from appliance.accounts.directory.options import OPENLDAP, Options

BASE = "dc=hospital,dc=test"
PEOPLE, GROUPS = f"ou=people,{BASE}", f"ou=groups,{BASE}"
MANAGER, MANAGER_PASSWORD = f"cn=reader,{BASE}", "the reader's password"
PASSWORD = "correct horse battery staple"

_SLAPD = shutil.which("slapd") or "/usr/sbin/slapd"
_SLAPADD = shutil.which("slapadd") or "/usr/sbin/slapadd"
_MODULES = next((path for path in ("/usr/lib/ldap", "/usr/lib/openldap") if os.path.isdir(path)), "")
# What the appliance reads of Active Directory, by AD's own names and numbers. No person can check here what a domain
# controller does by itself: the in-chain rule, `member;range=`, userAccountControl refusing a sign-in.
_AD_SCHEMA = """\
attributetype ( 1.2.840.113556.1.4.2 NAME 'objectGUID' EQUALITY octetStringMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.40
  SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.221 NAME 'sAMAccountName' EQUALITY caseIgnoreMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.656 NAME 'userPrincipalName' EQUALITY caseIgnoreMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.782 NAME 'objectCategory' EQUALITY caseIgnoreMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.8 NAME 'userAccountControl' EQUALITY integerMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
objectclass ( 1.2.840.113556.1.5.9 NAME 'user' SUP inetOrgPerson STRUCTURAL MUST ( sAMAccountName $ objectGUID )
  MAY ( userPrincipalName $ objectCategory $ userAccountControl ) )
objectclass ( 1.2.840.113556.1.5.8 NAME 'group' SUP top STRUCTURAL MUST ( cn $ sAMAccountName $ objectGUID )
  MAY ( member ) )
"""
_CONFIGURATION = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include {folder}/ad.schema
modulepath {modules}
moduleload back_mdb
moduleload memberof
pidfile {folder}/pid
sizelimit unlimited
security simple_bind=128
TLSCACertificateFile {folder}/ca.pem
TLSCertificateFile {folder}/server.pem
TLSCertificateKeyFile {folder}/server.key
database mdb
maxsize 536870912
suffix "{base}"
rootdn "{manager}"
rootpw "{password}"
directory {folder}/data
dbnosync
index objectClass,member,uid,sAMAccountName,entryUUID eq
overlay memberof
"""


def is_installed() -> bool:
    """Whether this machine has a slapd to start."""
    return os.access(_SLAPD, os.X_OK) and bool(_MODULES)


class DirectoryServer:
    """One slapd on loopback, by LDAPS and by StartTLS."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.tls_port = _free_port(), _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "data").mkdir()
        (folder / "ad.schema").write_text(_AD_SCHEMA)
        text = _CONFIGURATION.format(
            folder=folder, modules=_MODULES, base=BASE, manager=MANAGER, password=MANAGER_PASSWORD
        )
        (folder / "slapd.conf").write_text(text)
        self.certify()
        self._found()

    @property
    def ca_file(self) -> str:
        return str(self.folder / "ca.pem")

    def options(self, *, starttls: bool = False, schema: str = OPENLDAP, **changes: object) -> Options:
        """How the appliance reaches it."""
        scheme, port = ("ldap", self.port) if starttls else ("ldaps", self.tls_port)
        chosen: dict[str, object] = {
            "url": f"{scheme}://127.0.0.1:{port}",
            "ca_file": self.ca_file,
            "bind_dn": MANAGER,
            "bind_password": MANAGER_PASSWORD,
            "user_base": PEOPLE,
            "user_filter": "(objectClass=inetOrgPerson)",
            "group_base": GROUPS,
            "group_filter": "(|(objectClass=groupOfNames)(objectClass=group))",
            "schema": schema,
            "timeout_s": 2.0,
            "grace_s": 600.0,
            "sync_interval_s": 300.0,
            "disable_limit_percent": 10,
        }
        return Options(**(chosen | changes))  # type: ignore[arg-type]

    def certify(self, *, days: int = 30, address: str = "127.0.0.1") -> None:
        """A new CA and a certificate of it, valid for `days` (negative: expired). Takes effect at the next start."""
        certificates = _certificates(days, address)
        for name, content in zip(("ca.pem", "server.pem", "server.key"), certificates, strict=True):
            (self.folder / name).write_bytes(content)

    def _found(self) -> None:
        self.load(
            f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: Hospital\ndc: hospital\n",
            *(f"dn: {dn}\nobjectClass: organizationalUnit\nou: {dn[3:].split(',')[0]}\n" for dn in (PEOPLE, GROUPS)),
        )

    def load(self, *entries: str) -> None:
        """Writes entries into the database; slapd must not run."""
        done = subprocess.run(
            [_SLAPADD, "-q", "-f", str(self.folder / "slapd.conf")],
            input="\n".join(entries).encode(),
            capture_output=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr.decode()

    def empty(self) -> None:
        """Begins with a new database; slapd must not run."""
        shutil.rmtree(self.folder / "data")
        (self.folder / "data").mkdir()
        self._found()

    def start(self) -> None:
        self._start(f"ldap://127.0.0.1:{self.port} ldaps://127.0.0.1:{self.tls_port}")

    def start_plain(self) -> None:
        """Without a certificate: the two ports speak in the clear."""
        self._start(f"ldap://127.0.0.1:{self.port} ldap://127.0.0.1:{self.tls_port}")

    def _start(self, addresses: str) -> None:
        command = [_SLAPD, "-d", "0", "-f", str(self.folder / "slapd.conf"), "-h", addresses]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self._listens, timeout_s=20)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    @contextmanager
    def down(self) -> Iterator[None]:
        self.stop()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The kernel takes connections for it, and it says nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    @contextmanager
    def writing(self) -> Iterator[ldap.ldapobject.LDAPObject]:
        """A connection that may change entries."""
        connection = ldap.initialize(f"ldaps://127.0.0.1:{self.tls_port}")
        connection.set_option(ldap.OPT_X_TLS_CACERTFILE, self.ca_file)
        connection.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
        connection.simple_bind_s(MANAGER, MANAGER_PASSWORD)
        try:
            yield connection
        finally:
            connection.unbind_s()

    def add_person(self, name: str, *, under: str = PEOPLE, cn: str = "") -> str:
        """A person who signs in with `PASSWORD`; returns the entry's name."""
        dn = f"cn={cn or name},{under}"
        self._add(dn, objectClass="inetOrgPerson", uid=name, cn=cn or name, sn=name, userPassword=PASSWORD)
        return dn

    def add_ad_person(self, name: str, *, guid: uuid.UUID, control: int = 512) -> str:
        dn = f"cn={name},{PEOPLE}"
        self._add(
            dn,
            objectClass="user",
            sAMAccountName=name,
            userPrincipalName=f"{name}@hospital.test",
            objectCategory="person",
            objectGUID=guid.bytes_le,
            userAccountControl=str(control),
            cn=name,
            sn=name,
            userPassword=PASSWORD,
        )
        return dn

    def add_group(self, name: str, *members: str) -> str:
        dn = f"cn={name},{GROUPS}"
        self._add(dn, objectClass="groupOfNames", cn=name, member=members)
        return dn

    def add_ad_group(self, name: str, *members: str, guid: uuid.UUID) -> str:
        dn = f"cn={name},{GROUPS}"
        self._add(dn, objectClass="group", cn=name, sAMAccountName=name, objectGUID=guid.bytes_le, member=members)
        return dn

    def rename(self, dn: str, **values: str) -> None:
        self._modify(dn, [(ldap.MOD_REPLACE, name, [value.encode()]) for name, value in values.items()])

    def join(self, group: str, member: str) -> None:
        self._modify(group, [(ldap.MOD_ADD, "member", [member.encode()])])

    def leave(self, group: str, member: str) -> None:
        self._modify(group, [(ldap.MOD_DELETE, "member", [member.encode()])])

    def remove(self, *dns: str) -> None:
        with self.writing() as connection:
            for dn in dns:
                connection.delete_s(dn)

    def _modify(self, dn: str, changes: list[tuple[int, str, list[bytes]]]) -> None:
        with self.writing() as connection:
            connection.modify_s(dn, changes)

    def _add(self, dn: str, **values: str | bytes | Iterable[str]) -> None:
        listed = [
            (
                name,
                [value]
                if isinstance(value, bytes)
                else [v.encode() for v in ([value] if isinstance(value, str) else value)],
            )
            for name, value in values.items()
        ]
        with self.writing() as connection:
            connection.add_s(dn, listed)

    def _listens(self) -> bool:
        assert self._process is not None and self._process.poll() is None, "slapd ended"
        try:
            for port in (self.port, self.tls_port):
                socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return False
        return True


def crowd(size: int, group: str) -> list[str]:
    """LDIF of `size` people and of a group of them all."""
    password = base64.b64encode(PASSWORD.encode()).decode()
    names = [f"crowd{n:05}" for n in range(size)]
    people = [
        f"dn: uid={name},{PEOPLE}\nobjectClass: inetOrgPerson\nuid: {name}\ncn: {name}\nsn: x\n"
        f"userPassword:: {password}\n"
        for name in names
    ]
    members = "".join(f"member: uid={name},{PEOPLE}\n" for name in names)
    return [*people, f"dn: cn={group},{GROUPS}\nobjectClass: groupOfNames\ncn: {group}\n{members}"]


def _certificates(days: int, address: str) -> tuple[bytes, bytes, bytes]:
    now = datetime.datetime.now(datetime.UTC)
    start, end = now - datetime.timedelta(days=60), now + datetime.timedelta(days=days)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Test CA {uuid.uuid4()}")])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "directory")])

    def builder(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
        )

    ca = (
        builder(ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    server = builder(name, key.public_key()).add_extension(names, critical=False).sign(ca_key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    return ca.public_bytes(pem), server.public_bytes(pem), private


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])
