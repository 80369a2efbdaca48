"""What the doubles of a transcriber have in common; each says for itself what it hears."""

import time

from servekit.errors import InvalidArgument


class TranscriberDouble:
    """Knows every language but `xx`; a window costs its seconds."""

    batches = False
    seconds = 0.0

    def warm(self):
        pass

    def close(self):
        pass

    def check(self, options):
        if options.language == "xx":
            raise InvalidArgument("no such language", field="language")

    def work(self, cancellation):
        """Take `seconds` of the engine's time, unless cancelled."""
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            cancellation.raise_if_cancelled()
            time.sleep(0.005)

    def cost(self, window):
        return window.seconds

    def prepare(self, request):
        return request
