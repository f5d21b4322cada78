{#
  The hooks of every base model, in its transaction: a model that follows another is brought up to
  date by keys (keys.sql), the event base by the files of the lake (files.sql). While dbt parses,
  a model's config is not there yet; what the hooks read, the model itself refers to as well.
#}

{# pre-hook: takes out the rows that this run makes anew, and those whose events are gone. #}
{% macro remove_stale_rows() %}
    {{- adapter.dispatch("remove_stale_rows", "clickstream")() -}}
{% endmacro %}

{% macro default__remove_stale_rows() %}
    {%- if execute -%}
        {{- remove_reopened() if config.meta_get("follows") else remove_gone_files() -}}
    {%- endif -%}
{% endmacro %}


{# post-hook: gives events without session id theirs, and notes what the model has taken in. #}
{% macro remember_what_is_taken_in() %}
    {{- adapter.dispatch("remember_what_is_taken_in", "clickstream")() -}}
{% endmacro %}

{% macro default__remember_what_is_taken_in() %}
    {%- if execute -%}
        {%- if config.meta_get("follows") -%}
            {{- remember_reopened() -}}
        {%- else -%}
            {{- put_into_sessions() }}
            {{ remember_files() -}}
        {%- endif -%}
    {%- endif -%}
{% endmacro %}
