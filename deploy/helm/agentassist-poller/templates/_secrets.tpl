{{/*
The settings of the configuration that are secrets and stand there in plain text, a line each. ${NAME}, which the environment gives, is none; $${ is
plain text.
*/}}
{{- define "poller.inlineSecrets" -}}
{{- $path := .path -}}
{{- if kindIs "map" .value -}}
{{- range $key, $value := .value -}}
{{- $at := printf "%s.%s" $path $key -}}
{{- $named := has $key (list "password" "client_secret" "bearer_token" "token" "key") -}}
{{- $header := and (hasSuffix ".headers" $path) (regexMatch "(?i)(authorization|cookie|key|token|secret|password)" $key) -}}
{{- if and (or $named $header) (kindIs "string" $value) -}}
{{- if and $value (not (regexMatch "(^|[^$])[$][{]" $value)) }}
{{ $at }}
{{- end -}}
{{- else -}}
{{- include "poller.inlineSecrets" (dict "path" $at "value" $value) -}}
{{- end -}}
{{- end -}}
{{- else if kindIs "slice" .value -}}
{{- range $i, $value := .value -}}
{{- include "poller.inlineSecrets" (dict "path" (printf "%s[%d]" $path $i) "value" $value) -}}
{{- end -}}
{{- end -}}
{{- end }}
