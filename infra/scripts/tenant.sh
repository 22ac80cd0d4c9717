#!/usr/bin/env bash
# What no template can do: give the collector's identity its permission, and start subscriptions.
# tenant.sh --help says how. It needs Azure CLI, signed in, and nothing else.
set -euo pipefail

# "Office 365 Management APIs": this id is the same in every tenant.
readonly FEED_APP=c5393580-f805-4401-95e8-94b7a6ef2fc2
readonly GUID='^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$'
readonly KNOWN_TYPES='Audit.AzureActiveDirectory Audit.Exchange Audit.SharePoint Audit.General DLP.All'

usage() {
    cat <<'END'
usage: tenant.sh grant     --identity OBJECT-ID [--dlp] [--cloud CLOUD] [--undo] [--what-if]
       tenant.sh subscribe [--types TYPE,...] [--restart] [--cloud CLOUD] [--undo] [--what-if]
       tenant.sh show      --identity OBJECT-ID [--cloud CLOUD]

grant      gives the managed identity (or the application's service principal) ActivityFeed.Read
           of the Office 365 Management APIs. Run it as Privileged Role Administrator.
subscribe  starts what is missing of the subscriptions of the tenant that az is signed in to. Run
           it as the application that collects (az login --service-principal): the service may
           keep each application's subscriptions apart. The Function app starts its own.
show       prints which permissions the identity has.

  --identity OBJECT-ID  of the service principal, not its application id
  --dlp                 ActivityFeed.ReadDlp too, for DLP.All; with --undo, that alone
  --types TYPE,...      unless given those that the rules read: Audit.Exchange,
                        Audit.AzureActiveDirectory
  --restart             start also subscriptions that are disabled
  --cloud CLOUD         worldwide (default), gcc, gcc-high or dod
  --host URL            another feed than the cloud's; https:// only, as the token goes there
  --undo                take back: the permissions, or the subscriptions of --types. What is
                        published while a subscription is off is lost
  --what-if             say what would be changed, and change nothing

Each may be run again: what is there is left as it is. Exit codes: 0 done, 1 refused or failed (the
step is named), 2 usage. In a government cloud run az cloud set first. An application without an
Azure role signs in by az login --service-principal --allow-no-subscriptions.
END
}

say() { printf '%s\n' "$*"; }

fail() { # WHAT [CODE]
    complain "$1" || exit "${2:-1}"
}

complain() { # WHAT
    printf 'tenant.sh: %s\n' "$1" >&2
    return 1
}

# Prints the answer of az alone. What it says besides is kept: a warning is not an answer.
ask() { # ARGUMENTS OF az
    az "$@" 2>"$az_says"
}

# Says why a step failed, by what az said. Of that only codes are shown: the rest can hold the
# tenant's data.
explain() { # STEP
    local said
    said=$(<"$az_says")
    if [[ $said =~ AF[0-9]{3,6} ]]; then
        complain "$1: refused, ${BASH_REMATCH[0]} (mailvigil doctor says what it means; az login as the collector's application)"
    elif [[ $said =~ AADSTS[0-9]+ || $said =~ az\ login ]]; then
        complain "$1: the sign-in does not hold, ${BASH_REMATCH[0]} (az login again)"
    elif [[ $said =~ Authorization_RequestDenied|Insufficient\ privileges|Forbidden ]]; then
        complain "$1: refused, ${BASH_REMATCH[0]} (who is signed in lacks the role for it)"
    elif [[ $said =~ getaddrinfo|NameResolution|Name\ or\ service|Max\ retries|[Cc]onnection|timed\ out ]]; then
        complain "$1: no answer from the host (is it the right --cloud, is there a proxy?)"
    elif [[ $said =~ Request_ResourceNotFound|Not\ Found ]]; then
        complain "$1: refused, ${BASH_REMATCH[0]} (it is not there, or may not be read)"
    else
        complain "$1: az failed, and gave no code that is known here (az rest --debug shows all)"
    fi
}

# Runs a change, or says that it would be made.
change() { # WHAT COMMAND...
    local what=$1
    shift
    if [[ $what_if == yes ]]; then
        say "would $what"
        return
    fi
    "$@" || {
        explain "$what"
        return 1
    }
    say "done: $what"
}

choose_cloud() { # NAME
    case $1 in
    worldwide) graph=https://graph.microsoft.com audience=https://manage.office.com ;;
    gcc) graph=https://graph.microsoft.com audience=https://manage-gcc.office.com ;;
    gcc-high) graph=https://graph.microsoft.us audience=https://manage.office365.us ;;
    dod) graph=https://dod-graph.microsoft.us audience=https://manage.protection.apps.mil ;;
    *) fail "--cloud: unknown '$1' (there are worldwide, gcc, gcc-high, dod)" 2 ;;
    esac
}

# --- Permissions, through Microsoft Graph -------------------------------------------------------

graph() { # METHOD PATH [ARGUMENTS OF az rest]
    local method=$1 path=$2
    shift 2
    ask rest --only-show-errors --method "$method" --url "$graph/v1.0/$path" --resource "$graph" "$@"
}

find_both() {
    resource=$(graph get "servicePrincipals(appId='$FEED_APP')" --query id --output tsv) ||
        explain "read Office 365 Management APIs" ||
        fail "where the tenant lacks them, az ad sp create --id $FEED_APP makes them"
    who=$(graph get "servicePrincipals/$identity" --query displayName --output tsv) ||
        explain "read the identity" ||
        fail "--identity: is there no service principal with this object id? (az identity show calls it principalId)"
}

role_id() { # NAME
    graph get "servicePrincipals/$resource" --output tsv \
        --query "appRoles[?value=='$1' && contains(allowedMemberTypes, 'Application')].id | [0]"
}

assignment_of() { # ROLE-ID
    graph get "servicePrincipals/$identity/appRoleAssignments?\$top=999" --output tsv \
        --query "value[?appRoleId=='$1' && resourceId=='$resource'].id | [0]"
}

# Another run may have given it a moment ago.
assign() { # ROLE-ID
    graph post "servicePrincipals/$identity/appRoleAssignments" --output none \
        --headers Content-Type=application/json \
        --body "{\"principalId\":\"$identity\",\"resourceId\":\"$resource\",\"appRoleId\":\"$1\"}" ||
        [[ $(<"$az_says") == *"already exists"* ]]
}

unassign() { # ASSIGNMENT-ID
    graph delete "servicePrincipals/$identity/appRoleAssignments/$1" --output none
}

# Sets role and assignment, which its caller has as its own.
find_role() { # NAME
    role=$(role_id "$1") || explain "read which permissions the API offers" || exit 1
    [[ -n $role ]] || fail "$1: the API offers no such permission (another cloud?)"
    assignment=$(assignment_of "$role") || explain "read what $who has" || exit 1
}

set_role() { # NAME
    local role assignment
    find_role "$1"
    if [[ $undo == yes && -z $assignment ]]; then
        say "as it should be: $who does not have $1"
    elif [[ $undo == yes ]]; then
        change "take $1 from $who" unassign "$assignment"
    elif [[ -n $assignment ]]; then
        say "as it should be: $who has $1"
    else
        change "give $1 to $who" assign "$role"
    fi
}

grant() {
    local names=(ActivityFeed.Read)
    if [[ $dlp == yes && $undo == yes ]]; then
        names=(ActivityFeed.ReadDlp)
    elif [[ $dlp == yes || $undo == yes ]]; then
        names+=(ActivityFeed.ReadDlp)
    fi
    find_both
    for name in "${names[@]}"; do set_role "$name" || exit 1; done
}

show() {
    local role assignment
    find_both
    for name in ActivityFeed.Read ActivityFeed.ReadDlp; do
        find_role "$name"
        if [[ -n $assignment ]]; then
            say "$who has $name"
        else
            say "$who does not have $name"
        fi
    done
}

# --- Subscriptions, through the Management Activity API -----------------------------------------

feed() { # METHOD OPERATION [ARGUMENTS OF az rest]
    local method=$1 operation=$2 separator='?'
    shift 2
    [[ $operation == *\?* ]] && separator='&'
    ask rest --only-show-errors --method "$method" --resource "$audience" "$@" --url \
        "$host/api/v1.0/$tenant/activity/feed/subscriptions/$operation${separator}PublisherIdentifier=$tenant"
}

status_of() { # TYPE
    local answer
    answer=$(feed get list --query "[?contentType=='$1'].status | [0]" --output tsv) || {
        explain "list subscriptions"
        return 1
    }
    say "${answer:-missing}"
}

# AF20024 says that it is on already.
turn() { # start|stop TYPE
    feed post "$1?contentType=$2" --output none || [[ $(<"$az_says") == *AF20024* ]]
}

set_subscription() { # TYPE
    local status
    status=$(status_of "$1") || return 1
    case $undo-$status in
    no-enabled) say "as it should be: $1 is started" ;;
    no-missing) change "start $1" turn start "$1" ;;
    no-disabled)
        if [[ $restart == yes ]]; then
            change "start $1 again" turn start "$1"
        else
            complain "$1: the subscription is disabled (--restart starts it again)"
        fi
        ;;
    yes-enabled) change "stop $1" turn stop "$1" ;;
    yes-missing | yes-disabled) say "as it should be: $1 is not started" ;;
    *) complain "$1: the feed calls it '$status', which is not known here" ;;
    esac
}

subscribe() {
    local failed=no
    tenant=$(ask account show --query tenantId --output tsv) ||
        fail "az: not signed in (az login --service-principal, as the collector's application)"
    # A type that cannot be started holds back no other.
    for name in ${types//,/ }; do set_subscription "$name" || failed=yes; done
    [[ $failed == no ]] || exit 1
}

# --- Command line -------------------------------------------------------------------------------

check_types() {
    [[ -n ${types//,/} ]] || fail "--types: none given" 2
    for name in ${types//,/ }; do
        [[ " $KNOWN_TYPES " == *" $name "* ]] ||
            fail "--types: unknown '$name' (there are $KNOWN_TYPES)" 2
    done
}

read_options() {
    while (($#)); do
        case $1 in
        --identity | --types | --cloud | --host)
            (($# > 1)) || fail "$1: needs a value" 2
            printf -v "${1#--}" %s "$2"
            shift
            ;;
        --dlp | --undo | --restart) printf -v "${1#--}" yes ;;
        --what-if) what_if=yes ;;
        *) fail "unknown option '$1' (tenant.sh --help)" 2 ;;
        esac
        shift
    done
}

main() {
    local command=${1:-}
    case $command in
    -h | --help)
        usage
        return
        ;;
    grant | subscribe | show) shift ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
    identity='' types=Audit.Exchange,Audit.AzureActiveDirectory cloud=worldwide host='' dlp=no undo=no restart=no what_if=no
    read_options "$@"
    choose_cloud "$cloud"
    host=${host:-$audience}
    [[ $command == subscribe || $identity =~ $GUID ]] ||
        fail "--identity: needs an object id, a GUID" 2
    [[ $host == https://* ]] || fail "--host: does not begin with https:// (a token would go in the open)" 2
    check_types
    command -v az >/dev/null || fail "az: not found (install Azure CLI)"
    az_says=$(mktemp) || fail "mktemp: no temporary file could be made"
    trap 'rm -f "$az_says"' EXIT
    "$command"
}

main "$@"
