{{/* What must hold between values; what holds for each alone is in values.schema.json. Every problem is told at once. */}}

{{- define "rowcount.validate" -}}
{{- with include "rowcount.problems" . | trim -}}
{{- fail (printf "wrong values:\n%s" (regexReplaceAll "\\n\\s*" . "\n")) -}}
{{- end -}}
{{- end -}}

{{- define "rowcount.problems" -}}
{{- include "rowcount.leaseProblems" . }}
{{- include "rowcount.databaseProblems" .Values.database }}
{{- include "rowcount.redisProblems" . }}
{{- include "rowcount.portProblems" . }}
{{- include "rowcount.ratesProblems" .Values.rates.prometheus }}
{{- include "rowcount.monitorProblems" . }}
{{- $refs := dict "grpc.tls.clientCAs" .Values.grpc.tls.clientCAs "http.tls.clientCAs" .Values.http.tls.clientCAs }}
{{- $_ := set $refs "database.ca" .Values.database.ca }}
{{- $_ := set $refs "redis.cache.tls.ca" .Values.redis.cache.tls.ca }}
{{- $_ := set $refs "rates.prometheus.tls.ca" .Values.rates.prometheus.tls.ca }}
{{- range $path, $ref := $refs }}
{{- if and $ref.existingSecret $ref.existingConfigMap }}
{{ $path }}: give existingSecret or existingConfigMap, not both
{{- end }}
{{- end }}
{{- end -}}

{{- define "rowcount.leaseProblems" -}}
{{- with .Values.database.metrics }}
{{- $interval := include "rowcount.seconds" .interval | float64 }}
{{- $lease := include "rowcount.seconds" .leaseDuration | float64 }}
{{- if le $lease $interval }}
database.metrics.leaseDuration: {{ .leaseDuration }} must be longer than database.metrics.interval, {{ .interval }}
{{- end }}
{{- $quarantine := include "rowcount.seconds" $.Values.lease.quarantine | float64 }}
{{- if and (gt $quarantine 0.0) (le $quarantine $lease) }}
lease.quarantine: {{ $.Values.lease.quarantine }} must be 0s, or longer than database.metrics.leaseDuration, {{ .leaseDuration }}
{{- end }}
{{- end }}
{{- with .Values.podDisruptionBudget }}
{{- if and .enabled (eq (empty .minAvailable) (empty .maxUnavailable)) }}
podDisruptionBudget: give minAvailable or maxUnavailable, and the other empty
{{- end }}
{{- end }}
{{- end -}}

{{- define "rowcount.databaseProblems" -}}
{{- $sources := list }}
{{- if .url.existingSecret }}{{ $sources = append $sources "database.url" }}{{ end }}
{{- if .password.existingSecret }}{{ $sources = append $sources "database.password" }}{{ end }}
{{- if .passwordless }}{{ $sources = append $sources "database.passwordless" }}{{ end }}
{{- $certificate := .clientCertificate.existingSecret }}
{{- if gt (len $sources) 1 }}
database: give one credential, not {{ join " and " $sources }}
{{- end }}
{{- if and (not $sources) (not $certificate) .metrics.enabled }}
database: no credential; set database.password.existingSecret, database.url.existingSecret or database.clientCertificate.existingSecret, or database.passwordless: true where the server asks for none
{{- end }}
{{- if .url.existingSecret }}
{{- range $key, $value := dict "host" .host "user" .user "dbName" .dbName "clientCertificate" $certificate "ca" (include "rowcount.isGiven" .ca) }}
{{- if $value }}
database.{{ $key }}: is a part of what database.url holds; give one of the two
{{- end }}
{{- end }}
{{- else if .metrics.enabled }}
{{- range $key, $value := dict "host" .host "user" .user "dbName" .dbName }}
{{- if not $value }}
database.{{ $key }}: is not set; set it, or database.url.existingSecret
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "rowcount.redisProblems" -}}
{{- $redis := .Values.redis.cache }}
{{- if and (gt (int .Values.replicaCount) 1) (not (include "rowcount.hasRedis" .)) }}
replicaCount: {{ .Values.replicaCount }} instances share their lease in Redis; set redis.cache.addr, or replicaCount: 1
{{- end }}
{{- if and $redis.mainName (not $redis.addr) }}
redis.cache.mainName: is {{ $redis.mainName | quote }}, but redis.cache.addr names no Sentinel
{{- end }}
{{- if and (or $redis.sentinelUsername $redis.sentinelPassword.existingSecret) (not $redis.mainName) }}
redis.cache.mainName: is not set, but there are credentials of Sentinels
{{- end }}
{{- if and (gt (len $redis.addr) 1) (not $redis.mainName) (gt (int $redis.db) 0) }}
redis.cache.db: {{ int $redis.db }} is not in a Cluster, which has 0 only; set redis.cache.mainName where the addresses are Sentinels
{{- end }}
{{- end -}}

{{- define "rowcount.portProblems" -}}
{{- if eq (int .Values.grpc.port) (int .Values.http.port) }}
http.port: {{ int .Values.http.port }} is also grpc.port; give each a port of its own
{{- end }}
{{- range $port := list "grpc" "http" }}
{{- with (get $.Values $port).tls }}
{{- if and (not .existingSecret) (not $.Values.insecure) }}
{{ $port }}.tls.existingSecret: is not set; set it, or insecure: true to allow plaintext
{{- end }}
{{- if and (not .existingSecret) (include "rowcount.isGiven" .clientCAs) }}
{{ $port }}.tls.clientCAs: needs {{ $port }}.tls.existingSecret
{{- end }}
{{- if and .allowedNames (not (include "rowcount.isGiven" .clientCAs)) }}
{{ $port }}.tls.allowedNames: needs {{ $port }}.tls.clientCAs
{{- end }}
{{- end }}
{{- end }}
{{- range $name, $count := include "rowcount.tokenCounts" . | fromJson }}
{{- if gt (int $count) 1 }}
auth.tokens: the name {{ $name }} is given {{ int $count }} times
{{- end }}
{{- end }}
{{- end -}}

{{- define "rowcount.tokenCounts" -}}
{{- $counts := dict }}
{{- range .Values.auth.tokens }}
{{- $_ := set $counts .name (add 1 (default 0 (get $counts .name))) }}
{{- end }}
{{- toJson $counts }}
{{- end -}}

{{- define "rowcount.ratesProblems" -}}
{{- if and .token.existingSecret .password.existingSecret }}
rates.prometheus: give one credential, not rates.prometheus.token and rates.prometheus.password
{{- end }}
{{- if ne (empty .username) (empty .password.existingSecret) }}
rates.prometheus: username and password go together
{{- end }}
{{- end -}}

{{- define "rowcount.monitorProblems" -}}
{{- $tls := .Values.http.tls }}
{{- if and .Values.serviceMonitor.enabled .Values.podMonitor.enabled }}
podMonitor.enabled: serviceMonitor.enabled is true too, and every instance would be scraped twice
{{- end }}
{{- range $kind := list "serviceMonitor" "podMonitor" }}
{{- $monitor := get $.Values $kind }}
{{- if $monitor.enabled }}
{{- if and (include "rowcount.isGiven" $tls.clientCAs) (not (get (default dict $monitor.tlsConfig) "cert")) }}
{{ $kind }}.tlsConfig: has no cert and keySecret, but http.tls.clientCAs asks for a certificate
{{- end }}
{{- $names := include "rowcount.tokenCounts" $ | fromJson }}
{{- if and $monitor.token (not (hasKey $names $monitor.token)) }}
{{ $kind }}.token: {{ $monitor.token }} is no name of auth.tokens
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
