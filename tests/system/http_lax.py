"""Little servers with every fault, for those who look for faults."""
import contextlib
import socket
import threading


@contextlib.contextmanager
def server(serve):
    """A little server: serve(socket) for each connection, in a thread."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)

    def one(sock):
        with sock, contextlib.suppress(OSError):
            serve(sock)

    def loop():
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(sock,), daemon=True).start()

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def obliging(sock):
    """Answers 200 to anything, once for each "HTTP/"."""
    while data := sock.recv(65536):
        for _ in range(max(1, data.count(b" HTTP/"))):
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        if b"Connection: close" in data:
            return
