with active as (
    select user_pseudo_id, date_trunc('day', epoch_ms(event_timestamp)) as time_period
    from ods_events
    where event_name = '_session_start'
    group by 1, 2
),

neighbours as (
    select
        user_pseudo_id,
        time_period,
        lag(time_period, 1) over (
            partition by user_pseudo_id order by user_pseudo_id, time_period
        ) as before,
        lead(time_period, 1) over (
            partition by user_pseudo_id order by user_pseudo_id, time_period
        ) as behind
    from active
),

distances as (
    select
        *,
        date_diff('day', before, time_period) as size_before,
        date_diff('day', time_period, behind) as size_behind
    from neighbours
),

calculated as (
    select
        time_period,
        case
            when before is null then '1-NEW'
            when size_before = 1 then '2-ACTIVE'
            when size_before > 1 then '3-RETURN'
        end as stage,
        case when size_behind > 1 or size_behind is null then '0-CHURN' end as churn,
        count(distinct user_pseudo_id) as users
    from distances
    group by 1, 2, 3
)

select time_period, stage, sum(users) as sum
from calculated
group by 1, 2
union
select time_period + interval 1 day, '0-CHURN', -1 * sum(users)
from calculated
where churn is not null
group by 1, 2
