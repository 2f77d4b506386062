{{/* What must hold between values; what holds for each alone is in values.schema.json. Every problem is told at once. */}}

{{- define "rowcount.validate" -}}
{{- with include "rowcount.problems" . | trim -}}
{{- fail (printf "wrong values:\n%s" (regexReplaceAll "\\n\\s*" . "\n")) -}}
{{- end -}}
{{- end -}}

{{- define "rowcount.problems" -}}
{{- include "rowcount.durationProblems" . }}
{{- include "rowcount.leaseProblems" . }}
{{- include "rowcount.databaseProblems" .Values.database }}
{{- include "rowcount.redisProblems" . }}
{{- include "rowcount.portProblems" . }}
{{- include "rowcount.ratesProblems" .Values.rates }}
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

{{/* The least and the most that the program takes. */}}
{{- define "rowcount.durationProblems" -}}
{{- $least := dict "database.connectTimeout" "100ms" "database.metrics.interval" "100ms" }}
{{- $_ := set $least "database.metrics.leaseDuration" "200ms" }}
{{- range $timeout := list "dialTimeout" "readTimeout" "writeTimeout" }}
{{- $_ := set $least (print "redis.cache." $timeout) "10ms" }}
{{- end }}
{{- $_ := set $least "lease.quarantine" "0s" }}
{{- $_ := set $least "collection.timeout" "100ms" }}
{{- $_ := set $least "collection.triggerInterval" "0s" }}
{{- $_ := set $least "rates.prometheus.timeout" "100ms" }}
{{- $_ := set $least "rates.gauge.interval" "1s" }}
{{- range $name, $query := .Values.queries }}
{{- range $key := list "interval" "timeout" }}
{{- if hasKey $query $key }}
{{- $_ := set $least (printf "queries.%s.%s" $name $key) "100ms" }}
{{- end }}
{{- end }}
{{- end }}
{{- range $path, $least := $least }}
{{- $given := $.Values }}
{{- range $part := splitList "." $path }}
{{- $given = get $given $part }}
{{- end }}
{{- $seconds := include "rowcount.seconds" $given | float64 }}
{{- if lt $seconds (include "rowcount.seconds" $least | float64) }}
{{ $path }}: {{ $given }} is too short; the least is {{ $least }}
{{- else if gt $seconds 31536000.0 }}
{{ $path }}: {{ $given }} is too long; the most is 8760h
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
{{- /* What a holder stops before its lease ends: the program's margin. */}}
{{- $margin := ternary (divf $lease 8.0) (maxf (divf $lease 20.0) 0.25) (lt $lease 2.0) }}
{{- $least := addf $lease $margin }}
{{- $quarantine := include "rowcount.seconds" $.Values.lease.quarantine | float64 }}
{{- /* Sums of such numbers are not exact to the last bit. */}}
{{- if and (gt $quarantine 0.0) (lt $quarantine (subf $least 0.000001)) }}
lease.quarantine: {{ $.Values.lease.quarantine }} must be 0s, or at least {{ $least }}s: database.metrics.leaseDuration, {{ .leaseDuration }}, and its margin
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
{{- $seen := dict }}
{{- range $addr := $redis.addr }}
{{- if hasKey $seen $addr }}
redis.cache.addr: {{ $addr }} is given twice
{{- end }}
{{- $_ := set $seen $addr true }}
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
{{- if and .gauge.enabled (not .prometheus.url) }}
rates.gauge.enabled: needs rates.prometheus.url, which is not set
{{- end }}
{{- with .prometheus }}
{{- if and .token.existingSecret .password.existingSecret }}
rates.prometheus: give one credential, not rates.prometheus.token and rates.prometheus.password
{{- end }}
{{- if ne (empty .username) (empty .password.existingSecret) }}
rates.prometheus: username and password go together
{{- end }}
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
