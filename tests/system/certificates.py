"""Certificates made on the spot by the `openssl` command, for hosts that tests write.

An Authority issues; what it issues is a Certificate: two files, as servers want them. Keys are of
the P-256 curve unless said otherwise, since those are made in no time.
"""

import collections
import datetime
import itertools
import subprocess

# `chain`: the certificate and what stands between it and the root; `key`: its key. Both are paths.
Certificate = collections.namedtuple("Certificate", "chain key")

CONFIG = """\
[ca]
default_ca = issue
[issue]
database = {folder}/index
new_certs_dir = {folder}
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
[any]
commonName = optional
[req]
distinguished_name = name
prompt = no
[name]
[of_an_authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[of_a_host]
{host}
"""

A_DAY = datetime.timedelta(days=1)


def openssl(*words):
    done = subprocess.run(["openssl", *map(str, words)], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        raise RuntimeError(f"openssl {words[0]}: {done.stderr}")
    return done.stdout


def key_options(key):
    """`key`: "ec", or "rsa:1024"."""
    return ["-newkey", key] + (["-pkeyopt", "ec_paramgen_curve:P-256"] if key == "ec" else [])


def host_extensions(names, usage, constraints):
    lines = [f"basicConstraints = {constraints}", "keyUsage = digitalSignature, keyEncipherment",
             f"extendedKeyUsage = {usage}"]
    kinds = {True: "IP", False: "DNS"}
    if names:
        listed = ", ".join(f"{kinds[name[-1].isdigit()]}:{name}" for name in names)
        lines.append(f"subjectAltName = {listed}")
    return "\n".join(lines)


class Workshop:
    """A folder in which certificates are made."""

    def __init__(self, folder):
        self.folder = folder
        self.numbers = itertools.count()
        folder.mkdir()
        (folder / "index").touch()

    def path(self, number, ending):
        return self.folder / f"{number}.{ending}"

    def config(self, number, extensions=""):
        path = self.path(number, "config")
        path.write_text(CONFIG.format(folder=self.folder, host=extensions))
        return path

    def authority(self, name, key="ec"):
        """A root."""
        number = next(self.numbers)
        chain, secret = self.path(number, "pem"), self.path(number, "key")
        openssl("req", "-x509", *key_options(key), "-nodes", "-config", self.config(number),
                "-extensions", "of_an_authority", "-subj", f"/CN={name}", "-days", 30,
                "-keyout", secret, "-out", chain)
        return Authority(self, chain, secret, above="")

    def self_signed(self, names, key="ec"):
        number = next(self.numbers)
        config = self.config(number, host_extensions(names, "serverAuth", "CA:FALSE"))
        chain, secret = self.path(number, "pem"), self.path(number, "key")
        openssl("req", "-x509", *key_options(key), "-nodes", "-config", config, "-extensions",
                "of_a_host", "-subj", "/CN=self-signed", "-days", 30, "-keyout", secret, "-out",
                chain)
        return Certificate(chain, secret)


class Authority:
    """`file` is its own certificate, for those who trust it. `above`: what hosts must show with
    theirs so that the root is reached."""

    def __init__(self, workshop, file, key, above):
        self.workshop, self.file, self.key, self.above = workshop, file, key, above

    def issue(self, names, subject="a host", key="ec", begins=-A_DAY, ends=30 * A_DAY,
              usage="serverAuth", constraints="CA:FALSE"):
        """For a host. `names`: of the subjectAltName, none: it has none. `begins` and `ends`: from
        now."""
        extensions = host_extensions(names, usage, constraints)
        return self.sign(subject, key, extensions, "of_a_host", begins, ends)

    def authority(self, subject, key="ec"):
        """One below this one."""
        made = self.sign(subject, key, "", "of_an_authority", -A_DAY, 30 * A_DAY)
        return Authority(self.workshop, made.chain, made.key, made.chain.read_text())

    def below(self, certificate):
        """As if the host of that certificate could issue."""
        return Authority(self.workshop, certificate.chain, certificate.key,
                         certificate.chain.read_text())

    def sign(self, subject, key, extensions, section, begins, ends):
        number = next(self.workshop.numbers)
        config = self.workshop.config(number, extensions)
        request, secret = self.workshop.path(number, "csr"), self.workshop.path(number, "key")
        chain = self.workshop.path(number, "pem")
        openssl("req", "-new", *key_options(key), "-nodes", "-config", config, "-subj",
                f"/CN={subject}", "-keyout", secret, "-out", request)
        now = datetime.datetime.now(datetime.timezone.utc)
        openssl("ca", "-batch", "-notext", "-config", config, "-extensions", section, "-cert",
                self.file, "-keyfile", self.key, "-in", request, "-out", chain,
                "-startdate", f"{now + begins:%Y%m%d%H%M%SZ}",
                "-enddate", f"{now + ends:%Y%m%d%H%M%SZ}")
        chain.write_text(chain.read_text() + self.above)
        return Certificate(chain, secret)
