//! A shard: one thread, its sockets, timers and logs.
