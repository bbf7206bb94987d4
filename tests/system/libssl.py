"""A server's TLS by libssl itself, for what Python's `ssl` has no call for: fresh keys in the
middle of a session, and a look at a client's certificate whoever signed it.
"""

import ctypes
import functools

from engine_run import Skipped

PEM = 1
VERIFY_PEER = 1
UPDATE_REQUESTED = 1
SET_NEWEST = 124  # SSL_CTRL_SET_MAX_PROTO_VERSION
HANDSHAKE = 22       # RFC 8446 B.1, B.3.
KEY_UPDATE = 24
RECEIVED_SHUTDOWN = 2

CHECK_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p)
SEE_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_int, ctypes.c_int,
                                ctypes.POINTER(ctypes.c_ubyte), ctypes.c_size_t, ctypes.c_void_p,
                                ctypes.c_void_p)

POINTER, NUMBER, TEXT = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
CALLS = {  # What each gives back, and takes.
    "TLS_server_method": (POINTER, []),
    "SSL_CTX_new": (POINTER, [POINTER]),
    "SSL_CTX_free": (None, [POINTER]),
    "SSL_CTX_ctrl": (ctypes.c_long, [POINTER, NUMBER, ctypes.c_long, POINTER]),
    "SSL_CTX_use_certificate_chain_file": (NUMBER, [POINTER, TEXT]),
    "SSL_CTX_use_PrivateKey_file": (NUMBER, [POINTER, TEXT, NUMBER]),
    "SSL_CTX_set_verify": (None, [POINTER, NUMBER, CHECK_CALLBACK]),
    "SSL_CTX_set_msg_callback": (None, [POINTER, SEE_CALLBACK]),
    "SSL_new": (POINTER, [POINTER]),
    "SSL_free": (None, [POINTER]),
    "SSL_set_fd": (NUMBER, [POINTER, NUMBER]),
    "SSL_accept": (NUMBER, [POINTER]),
    "SSL_do_handshake": (NUMBER, [POINTER]),
    "SSL_key_update": (NUMBER, [POINTER, NUMBER]),
    "SSL_new_session_ticket": (NUMBER, [POINTER]),
    "SSL_renegotiate": (NUMBER, [POINTER]),
    "SSL_read": (NUMBER, [POINTER, TEXT, NUMBER]),
    "SSL_write": (NUMBER, [POINTER, TEXT, NUMBER]),
    "SSL_shutdown": (NUMBER, [POINTER]),
    "SSL_get_shutdown": (NUMBER, [POINTER]),
    "SSL_get_version": (TEXT, [POINTER]),
    "SSL_get1_peer_certificate": (POINTER, [POINTER]),
    "X509_get_subject_name": (POINTER, [POINTER]),
    "X509_NAME_oneline": (TEXT, [POINTER, TEXT, NUMBER]),
    "X509_free": (None, [POINTER]),
}


@functools.cache
def library():
    try:
        loaded = ctypes.CDLL("libssl.so.3")  # It brings libcrypto's names along.
    except OSError as why:
        raise Skipped(f"no libssl: {why}") from why
    for name, (gives, takes) in CALLS.items():
        call = getattr(loaded, name)
        call.restype, call.argtypes = gives, takes
    return loaded


@CHECK_CALLBACK
def take_any(_good, _store):
    return 1


class LibraryTls:
    """As tls_host.PythonTls, but on the socket itself: what is on the wire is not seen.

    `fresh_keys`: asks for new keys before each thing that it says, and while a body comes.
    `newest`: the version's number on the wire; 0: any. `counts`: the client's key updates."""

    def __init__(self, talk, certificate, ask_client=False, fresh_keys=False, newest=0,
                 counts=True):
        self.link, self.fresh_keys = talk.link, fresh_keys
        self.key_updates_seen = 0
        lib = library()
        self.context = lib.SSL_CTX_new(lib.TLS_server_method())
        self.must(lib.SSL_CTX_use_certificate_chain_file(self.context,
                                                         str(certificate.chain).encode()))
        self.must(lib.SSL_CTX_use_PrivateKey_file(self.context, str(certificate.key).encode(), PEM))
        self.must(lib.SSL_CTX_ctrl(self.context, SET_NEWEST, newest, None))
        if ask_client:
            lib.SSL_CTX_set_verify(self.context, VERIFY_PEER, take_any)
        self.see = SEE_CALLBACK(self.on_message)
        if counts:
            lib.SSL_CTX_set_msg_callback(self.context, self.see)
        self.session = lib.SSL_new(self.context)
        self.link.settimeout(None)  # The library reads and writes it, and waits.
        self.must(lib.SSL_set_fd(self.session, self.link.fileno()))

    def __del__(self):
        if library is not None:
            library().SSL_free(self.session)
            library().SSL_CTX_free(self.context)

    def must(self, result):
        if result <= 0:
            raise ConnectionError("libssl has failed")
        return result

    def on_message(self, sent, _version, kind, data, length, _session, _argument):
        if not sent and kind == HANDSHAKE and length > 0 and data[0] == KEY_UPDATE:
            self.key_updates_seen += 1

    def handshake(self):
        self.must(library().SSL_accept(self.session))
        return {"version": library().SSL_get_version(self.session).decode(), "session": self,
                "certificate": self.client_subject()}

    def client_subject(self):
        lib = library()
        shown = lib.SSL_get1_peer_certificate(self.session)
        if not shown:
            return None
        text = ctypes.create_string_buffer(500)
        lib.X509_NAME_oneline(lib.X509_get_subject_name(shown), text, len(text))
        lib.X509_free(shown)
        return text.value.decode()

    def ask_for_fresh_keys(self):
        if self.fresh_keys:
            self.must(library().SSL_key_update(self.session, UPDATE_REQUESTED))
            self.must(library().SSL_do_handshake(self.session))

    def read(self):
        self.ask_for_fresh_keys()
        data = ctypes.create_string_buffer(1 << 14)
        count = library().SSL_read(self.session, data, len(data))
        if count <= 0 and library().SSL_get_shutdown(self.session) & RECEIVED_SHUTDOWN:
            return b""
        return data.raw[:self.must(count)]

    def write(self, data):
        self.ask_for_fresh_keys()
        self.must(library().SSL_write(self.session, data, len(data)))

    def say_end(self):
        library().SSL_shutdown(self.session)

    def end(self):
        self.say_end()
        self.must(library().SSL_shutdown(self.session))
