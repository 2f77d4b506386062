//! The ops port: /metrics, /livez, /readyz, /version, /config.
