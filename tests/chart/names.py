"""A name server that knows one name: what a program asks where there is no /etc/hosts."""

import socket
import struct
import threading


class NameServer:
    """Answers A questions for `name` with 127.0.0.1, and everything else with nothing, on port 53 of `address`."""

    def __init__(self, name, address):
        self.question = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 53))
        self.asked = 0
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                packet, client = self.socket.recvfrom(512)
            except OSError:
                return
            end = packet.index(b"\0", 12) + 5
            kind = struct.unpack(">H", packet[end - 4 : end - 2])[0]
            found = packet[12 : end - 4].lower() == self.question and kind == 1
            self.asked += found
            head = packet[:2] + struct.pack(">HHHHH", 0x8580, 1, found, 0, 0)
            answer = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 1, 4) + bytes([127, 0, 0, 1]) if found else b""
            self.socket.sendto(head + packet[12:end] + answer, client)

    def stop(self):
        self.socket.close()
