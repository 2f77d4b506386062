# Cleans up behind one server: reads its process id, a line at each start (an empty one at each end), and at the end of
# the input, which comes however the owner dies, ends the server and removes its directory.
# $1: the directory; $2: the signal that ends the server at once.
last=
while read -r pid; do last=$pid; done
if [ -n "$last" ]; then
  kill -CONT "$last"
  kill "-$2" "$last"
  tries=0
  while kill -0 "$last" && [ "$tries" -lt 50 ]; do
    sleep 0.1
    tries=$((tries + 1))
  done
  kill -KILL "$last"
fi
# A postmaster that was killed leaves the segment that guards its data directory.
if [ -f "$1/data/postmaster.pid" ]; then
  ipcrm -m "$(sed -n '7s/.* //p' "$1/data/postmaster.pid")"
fi
rm -rf -- "$1" || { sleep 1; rm -rf -- "$1"; }
