"""What a spool holds after a power cut, held against the ledger of what was promised by then."""

import collections

from engine_run import expect
from logged_disk import command
from placed_mail import number_of, sender_of

Found = collections.namedtuple("Found", "id kind intact digest recipients")


class Census:
    """What recovery finds in a spool, as spool_census prints it."""

    def __init__(self, build, folder):
        done = command(build / "tests" / "system" / "spool_census", folder)
        expect(done.returncode == 0, f"recovery: {done.stderr.strip()} ({done.returncode})")
        self.messages, self.segments = [], collections.defaultdict(list)
        for line in done.stdout.splitlines():
            word, *words = line.split(" ")
            if word == "message":
                id, kind, intact, digest = words
                self.messages.append(Found(id, kind, intact == "intact", digest, {}))
            elif word == "recipient":
                self.messages[-1].recipients[words[0]] = words[1]
            elif word == "segment":
                self.segments[words[0]].append(int(words[1]))
            else:
                _, self.records, self.damaged_records, self.incomplete = map(int, words)
        self.waiting = {address for message in self.messages
                        for address, state in message.recipients.items() if state == "waiting"}

    def greatest_sequence(self):
        return max(max(sequences) for sequences in self.segments.values())


def lost(ledger, census, place):
    """The addresses of what was promised and is gone from a disk that was cut at this place."""
    def delivered(address):
        return any(at < place for at in ledger.delivered.get(address, ()))

    def kept(address):
        if address in census.waiting or delivered(address):
            return True
        bounce = sender_of(number_of(address))
        return (ledger.refused.get(address, place) < place and
                (bounce in census.waiting or delivered(bounce)))

    promised = (number for number, at in ledger.promised.items() if at <= place)
    return [address for number in promised for address in ledger.mails[number].recipients
            if not kept(address)]


def corrupt(ledger, census):
    """What is on a disk and is not what was sent."""
    faults = [f"{census.damaged_records} damaged records"] if census.damaged_records else []
    for message in census.messages:
        if not message.intact:
            faults.append(f"the body of {message.id} has not its checksum")
        elif message.kind == "accepted":
            mail = ledger.mails.get(number_of(next(iter(message.recipients))))
            if mail is None:
                faults.append(f"message {message.id} was done before the disk's log began")
            elif message.digest != mail.digest or set(message.recipients) != set(mail.recipients):
                faults.append(f"message {message.id} is not number {mail.number} as it was sent")
    return faults
