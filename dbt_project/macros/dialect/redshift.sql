{#
  What Redshift writes in its own way. events.sql says what each macro gives.

  Nested columns are SUPER: a path into one gives a SUPER, which joins, groups and compares by rules
  of its own, so each is cast where it is read. `varchar` alone has 256 bytes there and cuts.
#}

{# SQL on Redshift has no expression for "the element with this key": `lake_events` and
   `with_params` join the parameters that are read. #}
{% macro redshift__event_param(key, type) %}
    {%- set read = parameters_read() + funnel_params(var("funnels")) -%}
    {%- if (key, type) not in read and execute -%}
        {% do exceptions.raise_compiler_error(
            "add (" ~ key ~ ", " ~ type ~ ") to the macro parameters_read in dialect/redshift.sql"
        ) %}
    {%- endif -%}
    {{- "e." ~ parameter_column(key, type) -}}
{% endmacro %}


{# The parameters that the event base reads, as a list of (key, type). #}
{% macro parameters_read() %}
    {%- set names = ["_session_id"] + (var("view_events").values() | list) -%}
    {%- set found = [] -%}
    {%- for name in names | unique -%}
        {%- do found.append((name, "string")) -%}
    {%- endfor -%}
    {%- for name in ["_session_start_timestamp", "_session_duration", "_engagement_time_msec"] -%}
        {%- do found.append((name, "int")) -%}
    {%- endfor -%}
    {%- do return(found) -%}
{% endmacro %}


{# The column of a parameter; keys are any text. #}
{% macro parameter_column(key, type) %}
    {%- do return("param_" ~ local_md5(key ~ " " ~ type)) -%}
{% endmacro %}


{# The parameters of the events `l` of a relation for which a condition holds, as columns: the first
   one where a key was sent twice. Arrays are opened for these events only. #}
{% macro opened_params(relation, params, condition) %}
    (
        select
            app_id,
            event_date,
            event_id
            {%- for key, type in params %},
            max(case when param_key = {{ string_list([key]) }} then {{ type }}_value end)
                as {{ parameter_column(key, type) }}
            {%- endfor %}
        from (
            select
                l.app_id,
                l.event_date,
                l.event_id,
                cast(p.key as varchar(256)) as param_key,
                {%- for type in params | map("last") | unique %}
                {{ nested("p.value." ~ type ~ "_value", type) }} as {{ type }}_value,
                {%- endfor %}
                row_number() over (
                    partition by l.app_id, l.event_date, l.event_id, cast(p.key as varchar(256))
                    order by place
                ) as nth
            from {{ relation }} as l, l.event_params as p at place
            where
                cast(p.key as varchar(256)) in
                ({{ string_list(params | map("first") | unique | list) }})
                and {{ condition }}
        ) as opened
        where nth = 1
        group by app_id, event_date, event_id
    )
{%- endmacro %}


{# The events that this run takes in, with the parameters as columns. No row knows its file: it has
   the batch. #}
{% macro redshift__lake_events(changes) %}
    {%- set events = source("lake", "ods_event") %}
    (
        select
            l.*,
            l.ingest_batch as lake_file
            {%- for key, type in parameters_read() %},
            p.{{ parameter_column(key, type) }}
            {%- endfor %}
        from {{ events }} as l
        left join {{ opened_params(events, parameters_read(), in_loads("l", changes)) }} as p
            on l.app_id = p.app_id and l.event_date = p.event_date and l.event_id = p.event_id
        where {{ in_loads("l", changes) }}
    )
{%- endmacro %}


{% macro redshift__with_params(relation, params, names) %}
    {%- if params %}
    (
        select
            l.*
            {%- for key, type in params %},
            p.{{ parameter_column(key, type) }}
            {%- endfor %}
        from {{ relation }} as l
        left join {{ opened_params(relation, params, is_one_of("l.event_name", names)) }} as p
            on l.app_id = p.app_id and l.event_date = p.event_date and l.event_id = p.event_id
    )
    {%- else -%}
        {{ relation }}
    {%- endif -%}
{%- endmacro %}


{% macro redshift__nested(path, type) %}
    {%- set types = {
        "string": "varchar(65535)" if ".value." in path else "varchar(4096)",
        "int": "bigint", "float": "real", "double": "double precision",
    } -%}
    {{- "cast(%s as %s)" % (path, types[type]) -}}
{% endmacro %}


{% macro redshift__unnested(relation, column) %}
    (select r.*, item from {{ relation }} as r, r.{{ column }} as item)
{%- endmacro %}


{# Redshift prints a whole number of a floating type without a fraction. Only numbers that an integer
   holds are cast to one, whatever rows the engine tries the cast on. #}
{% macro redshift__number_text(number) %}
    coalesce(
        cast(cast(
            case when abs({{ number }}) < 1e15 and {{ number }} = trunc({{ number }})
                then {{ number }} end
        as bigint) as varchar(32)) || '.0',
        cast({{ number }} as varchar(32))
    )
{% endmacro %}


{# Fractions of a second are cut: times are only read by the hour. Integers would be divided towards
   zero, which puts the last second of 1969 into 1970. #}
{% macro redshift__ms_to_timestamp(ms) %}
    {{- "timestamp 'epoch' + cast(floor((%s) / 1000.0) as bigint) * interval '1 second'" % ms -}}
{% endmacro %}


{# Redshift lacks `is not distinct from`, and joins on `or` row by row. With a sign behind each
   value, no value equals what stands for null, and the join can be hashed. #}
{% macro redshift__same(left, right) %}
    {{- "coalesce(cast(%s as varchar(65535)) || '.', '') = coalesce(cast(%s as varchar(65535)) || '.', '')"
        % (left, right) -}}
{% endmacro %}


{# Sessions of Redshift are in UTC unless they set another zone. #}
{% macro redshift__now_in_utc() %}
    {{- "cast(getdate() as timestamp)" -}}
{% endmacro %}


{% macro redshift__local_time(timestamp, zone) %}
    {{- "convert_timezone('UTC', %s, %s)" % (string_list([zone]), timestamp) -}}
{% endmacro %}


{# A backslash in a literal of Redshift takes its meaning from the next sign. #}
{% macro redshift__string_list(values) %}
    {{- default__string_list(values | map("replace", "\\", "\\\\")) -}}
{% endmacro %}


{#
  The event base follows the loads of the table of events, which the loader keeps in step with the
  lake (warehouses/redshift/loading.py): `ods_event_load` has a row for each load, `ods_event_gone`
  the keys of events that a load took out or put in another's place.
#}
{% macro of_loader(name) %}
    {%- do return(api.Relation.create(
        database=target.database, schema=target.schema, identifier="ods_event_" ~ name
    )) -%}
{% endmacro %}


{# The loader's note of the last load that its dimension of users has taken in. #}
{% macro users_loaded() %}
    {%- do return(api.Relation.create(
        database=target.database, schema=target.schema, identifier="dim_user_load"
    )) -%}
{% endmacro %}


{#
  As files.sql has it; the loads to take in are those after `after`. The last one was noted when the
  run began: hooks and body are asked one after another, and a load may be committed in between.
#}
{% macro redshift__file_changes() %}
    {%- set last = none -%}
    {%- set upto = none -%}
    {%- if builds() -%}
        {%- set loads = last_loads() -%}
        {%- set last = loads.get(this.identifier) -%}
        {%- set upto = loads["ods_event_load"] -%}
    {%- endif -%}
    {%- set all = last is none or not is_incremental() -%}
    {%- do return({
        "all": all,
        "new": [upto] if not all and upto > last else [],
        "gone": [],
        "after": 0 if all else last,
        "load_id": upto or 0,
        "bounded": upto is not none,
    }) -%}
{% endmacro %}


{% macro in_loads(alias, changes) %}
    {%- if changes.bounded -%}
        {{ alias }}.load_id > {{ changes.after }} and {{ alias }}.load_id <= {{ changes.load_id }}
    {%- else -%}
        true
    {%- endif -%}
{% endmacro %}


{% macro redshift__in_files_to_load(changes) %}
    {{- "true" -}}
{% endmacro %}


{% macro redshift__remove_gone_files() %}
    {%- set changes = file_changes() -%}
    {%- if changes.all and builds() -%}
        {%- if is_incremental() -%} {%- do must_have_the_whole_history() -%} {%- endif -%}
        delete from {{ ledger("state") }} where model <> 'ods_event_load';
        delete from {{ ledger("removal") }};
        {% if is_incremental() %} delete from {{ this }}; {% endif %}
    {%- elif changes.new -%}
        {%- set gone -%}
            select distinct l.app_id, l.event_date, l.event_id
            from {{ of_loader("gone") }} as l
            where {{ in_loads("l", changes) }}
        {%- endset -%}
        {%- set query -%}
            select distinct event_date, event_date as last_date from ({{ gone }}) as days
        {%- endset -%}
        {%- set days = merged(run_query(query).rows) -%}
        {%- if days -%}
        insert into {{ ledger("removal") }} ({{ removal_columns() }})
        select distinct
            {{ changes.load_id }},
            former.app_id,
            former.event_date,
            former.user_pseudo_id,
            former.session_key,
            former.platform,
            former.report_date
        from {{ this }} as former
        inner join ({{ gone }}) as gone
            on
                former.app_id = gone.app_id
                and former.event_date = gone.event_date
                and former.event_id = gone.event_id
        where {{ in_ranges("former.event_date", days) }};
        with gone as ({{ gone }})
        delete from {{ this }}
        using gone
        where
            {{ this.identifier }}.app_id = gone.app_id
            and {{ this.identifier }}.event_date = gone.event_date
            and {{ this.identifier }}.event_id = gone.event_id
            and {{ in_ranges(this.identifier ~ ".event_date", days) }};
        {%- endif -%}
    {%- endif -%}
{% endmacro %}


{# Whether a day has all of its events. Models that have a row for each event keep two days more than
   the loader's events, and the sessions that reach into those (warehouses/redshift/expiry.py): so a
   reporting day of the first kept one has all of them. #}
{% macro redshift__has_all_events(column) -%}
    and {{ column }} >= (
        select coalesce(max(before), date '0001-01-02') - 1 from {{ of_loader("expiry") }}
    )
{%- endmacro %}


{# Expired days have no events; sessions, users and days are kept, and what is made of those alone can
   start over. #}
{% macro redshift__must_have_the_whole_history() %}
    {%- if reads_events() -%}
        {%- set before = run_query(
            "select cast(max(before) as varchar(10)) from " ~ of_loader("expiry")
        ).rows[0][0] -%}
        {%- if before is not none -%}
            {% do exceptions.raise_compiler_error(
                "days before " ~ before ~ " have expired in Redshift, and " ~ this.identifier
                ~ " would be made anew without them, because definitions or the project's version"
                ~ " have changed: take the former ones again, bring the days back by"
                ~ " `clickstream redshift bring-back`, or do without them by --full-refresh"
            ) %}
        {%- endif -%}
    {%- endif -%}
{% endmacro %}


{% macro redshift__remember_files() %}
    {%- set changes = file_changes() -%}
    {%- if builds() and (changes.all or changes.new) -%}
        {{ remember_load(changes.load_id) }}
    {%- endif -%}
{% endmacro %}


{# The ledger with columns that are wide enough, and without files; notes up to which load the events
   are taken in by this run. #}
{% macro redshift__make_ledger() %}
    {%- if builds() -%}
        {%- set id = "varchar(1020)" -%}
        {%- set day = "report_date date" -%}
        {%- set user = "user_pseudo_id " ~ id -%}
        {%- for name, columns in {
            "state": [
                "model varchar(256) not null", "load_id bigint not null",
                "definitions varchar(65535)",
            ],
            "removal": [
                "load_id bigint not null", "app_id " ~ id, "event_date date", user,
                "session_key varchar(65535)", "platform varchar(4096)", day,
            ],
            "session": [
                "app_id " ~ id, "event_date date", "event_id " ~ id, user, "platform varchar(4096)",
                day, "former_key varchar(65535)", "session_key varchar(65535)",
            ],
        }.items() -%}
            {%- do run_query(
                "create table if not exists " ~ ledger(name) ~ " (" ~ columns | join(", ") ~ ")"
            ) -%}
        {%- endfor -%}
        delete from {{ ledger("state") }} where model = 'ods_event_load';
        insert into {{ ledger("state") }} (model, load_id)
        select 'ods_event_load', coalesce(max(load_id), 0) from {{ of_loader("load") }}
    {%- endif -%}
{% endmacro %}


{% macro redshift__forget_consumed_removals() %}
    {%- if builds() -%}
        {{ default__forget_consumed_removals() }};
        {#- The dimension of users, where there is one, follows the loads at its own frequency. -#}
        delete from {{ of_loader("gone") }}
        where
            load_id <= (
                select max(load_id) from {{ ledger("state") }}
                where model = 'clickstream_event_base'
            )
            and load_id <= (
                select coalesce(max(load_id), {{ 2 ** 62 }}) from {{ users_loaded() }}
            )
    {%- endif -%}
{% endmacro %}
