"""python3 redis_py.py PORT NAME PREFIX: what redis-py does with its Sentinel support. The lines that
it prints are those of writer.js."""
import json
import sys
import threading
import time

from redis import RedisError
from redis.sentinel import Sentinel

port, name, prefix = int(sys.argv[1]), *sys.argv[2:4]
client = Sentinel([("127.0.0.1", port)], socket_timeout=5).master_for(name, socket_timeout=5)
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
n = 0
while not ended.is_set():
    try:
        client.set(f"{prefix}{n}", str(n))
        print("ok", n, flush=True)
        n += 1
    except RedisError as e:
        print("error", n, json.dumps(str(e)), flush=True)
    time.sleep(0.004)
print("end", flush=True)
