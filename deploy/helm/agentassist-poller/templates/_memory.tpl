{{/*
How much memory Go may use of a limit of Kubernetes: nine tenths of it, in bytes. Empty if there is no limit, or none in the usual units.
*/}}
{{- define "poller.goMemoryLimit" -}}
{{- $text := toString . -}}
{{- $number := regexFind "^[0-9]+([.][0-9]+)?" $text -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 -}}
{{- $unit := trimPrefix $number $text -}}
{{- if and $number (hasKey $units $unit) -}}
{{- mulf $number (get $units $unit) 0.9 | int64 -}}
{{- end -}}
{{- end }}

{{/*
The container's environment: what the values say, and GOMEMLIMIT unless they say that.
*/}}
{{- define "poller.env" -}}
{{- $env := .Values.env | default list -}}
{{- $named := list -}}
{{- range $env -}}
{{- $named = append $named .name -}}
{{- end -}}
{{- $limit := include "poller.goMemoryLimit" (dig "limits" "memory" "" (.Values.resources | default dict)) -}}
{{- if and $limit (not (has "GOMEMLIMIT" $named)) -}}
{{- $env = append $env (dict "name" "GOMEMLIMIT" "value" $limit) -}}
{{- end -}}
{{- if $env -}}
{{- toYaml $env -}}
{{- end -}}
{{- end }}
