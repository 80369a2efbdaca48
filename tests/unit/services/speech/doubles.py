"""What the doubles of a transcriber have in common; each says for itself what it hears."""

from servekit.rpc.errors import InvalidArgument


class TranscriberDouble:
    """Knows every language but `xx`; a window costs its seconds."""

    batches = False

    def warm(self):
        pass

    def close(self):
        pass

    def check(self, instructions):
        if instructions.language == "xx":
            raise InvalidArgument("no such language", field="language")

    def cost(self, window):
        return window.seconds

    def prepare(self, request):
        return request
