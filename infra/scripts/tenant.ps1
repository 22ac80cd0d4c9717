<#
.SYNOPSIS
What no template can do: the identity's permission, the subscriptions, the mailboxes' audit switches.

.DESCRIPTION
grant      gives the managed identity (or the application's service principal) ActivityFeed.Read of
           the Office 365 Management APIs. Needs the module Microsoft.Graph.Authentication and the
           role Privileged Role Administrator.
subscribe  starts what is missing of the tenant's subscriptions. Needs the module Az.Accounts 5 or
           newer, signed in as the application that collects: the service may keep each
           application's subscriptions apart. The Function app starts its own.
mailboxes  lists the mailboxes that do not log MailItemsAccessed, and changes them with -Apply only.
           What was changed is written to -Record before it is changed; -Undo takes exactly that
           back. Needs the module ExchangeOnlineManagement and the role Exchange Administrator.

Each may be run again: what is there is left as it is. With -WhatIf nothing is changed.

.EXAMPLE
./tenant.ps1 grant -Identity 33333333-aaaa-4bbb-8ccc-000000000003 -WhatIf

.EXAMPLE
./tenant.ps1 mailboxes -Apply -Record changed.csv
#>
#Requires -Version 7.2
[CmdletBinding(SupportsShouldProcess)]
param(
    [Parameter(Mandatory, Position = 0)]
    [ValidateSet('grant', 'subscribe', 'mailboxes')]
    [string] $Command,

    # Object id of the service principal, not its application id.
    [ValidatePattern('^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$')]
    [string] $Identity,

    # ActivityFeed.ReadDlp too, for DLP.All; with -Undo, that alone.
    [switch] $Dlp,

    [ValidatePattern('^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$')]
    [string] $Tenant,

    [ValidateSet('Audit.AzureActiveDirectory', 'Audit.Exchange', 'Audit.SharePoint', 'Audit.General', 'DLP.All')]
    [string[]] $Types = @('Audit.Exchange'),

    # Start also subscriptions that are disabled.
    [switch] $Restart,

    # mailboxes: change them, and do not only list them.
    [switch] $Apply,

    # mailboxes: a CSV file of what was changed.
    [string] $Record = 'mailboxes-changed.csv',

    [ValidateSet('worldwide', 'gcc', 'gcc-high', 'dod')]
    [string] $Cloud = 'worldwide',

    [switch] $Undo
)

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# "Office 365 Management APIs": this id is the same in every tenant.
$FeedApp = 'c5393580-f805-4401-95e8-94b7a6ef2fc2'
$Clouds = @{
    'worldwide' = @{ Graph = 'Global'; Feed = 'https://manage.office.com'; Exchange = 'O365Default' }
    'gcc'       = @{ Graph = 'Global'; Feed = 'https://manage-gcc.office.com'; Exchange = 'O365Default' }
    'gcc-high'  = @{ Graph = 'USGov'; Feed = 'https://manage.office365.us'; Exchange = 'O365USGovGCCHigh' }
    'dod'       = @{ Graph = 'USGovDoD'; Feed = 'https://manage.protection.apps.mil'; Exchange = 'O365USGovDoD' }
}
$Operation = 'MailItemsAccessed'
$SignIns = 'AuditOwner', 'AuditDelegate', 'AuditAdmin'

# --- Permissions, through Microsoft Graph --------------------------------------------------------

function Get-RoleNames {
    if ($Dlp -and $Undo) { return @('ActivityFeed.ReadDlp') }
    if ($Dlp -or $Undo) { return @('ActivityFeed.Read', 'ActivityFeed.ReadDlp') }
    return @('ActivityFeed.Read')
}

function Set-Role([string] $Name, [hashtable] $Api, [hashtable] $Who) {
    $assignments = "v1.0/servicePrincipals/$($Who.id)/appRoleAssignments"
    $role = $Api.appRoles | Where-Object { $_.value -eq $Name -and $_.allowedMemberTypes -contains 'Application' }
    if (-not $role) { throw "${Name}: the API offers no such permission (another cloud?)" }
    $all = (Invoke-MgGraphRequest -Method GET -Uri $assignments -OutputType Hashtable).value
    $given = $all | Where-Object { $_.appRoleId -eq $role.id -and $_.resourceId -eq $Api.id }
    if ($Undo -and $given) {
        if ($PSCmdlet.ShouldProcess($Who.displayName, "take $Name")) {
            Invoke-MgGraphRequest -Method DELETE -Uri "$assignments/$($given.id)" | Out-Null
        }
    }
    elseif (-not $Undo -and -not $given) {
        $body = @{ principalId = $Who.id; resourceId = $Api.id; appRoleId = $role.id }
        if ($PSCmdlet.ShouldProcess($Who.displayName, "give $Name")) {
            Invoke-MgGraphRequest -Method POST -Uri $assignments -Body $body | Out-Null
        }
    }
    else { Write-Output "as it should be: $($Who.displayName), $Name" }
}

function Set-Grant {
    if (-not $Identity) { throw '-Identity: needs the object id of a service principal' }
    $scopes = 'AppRoleAssignment.ReadWrite.All', 'Application.Read.All'
    Connect-MgGraph -Environment $Clouds[$Cloud].Graph -Scopes $scopes -NoWelcome
    $api = Invoke-MgGraphRequest -Method GET -OutputType Hashtable `
        -Uri "v1.0/servicePrincipals(appId='$FeedApp')"
    $who = Invoke-MgGraphRequest -Method GET -OutputType Hashtable -Uri "v1.0/servicePrincipals/$Identity"
    foreach ($name in Get-RoleNames) { Set-Role $name $api $who }
}

# --- Subscriptions, through the Management Activity API ------------------------------------------

function Invoke-Feed([string] $Method, [string] $Action, [securestring] $Token) {
    $feed = $Clouds[$Cloud].Feed
    $joined = if ($Action.Contains('?')) { '&' } else { '?' }
    $uri = "$feed/api/v1.0/$Tenant/activity/feed/subscriptions/$Action${joined}PublisherIdentifier=$Tenant"
    Invoke-RestMethod -Method $Method -Uri $uri -Authentication Bearer -Token $Token
}

function Set-Subscription([string] $Type, [object[]] $All, [securestring] $Token) {
    $found = $All | Where-Object { $_.contentType -eq $Type }
    $status = if ($found) { $found.status } else { 'missing' }
    if ($status -notin 'enabled', 'disabled', 'missing') {
        throw "${Type}: the feed calls it '$status', which is not known here"
    }
    if ($Undo -and $status -eq 'enabled') {
        if ($PSCmdlet.ShouldProcess($Type, 'stop the subscription; what is published meanwhile is lost')) {
            Invoke-Feed POST "stop?contentType=$Type" $Token | Out-Null
        }
    }
    elseif (-not $Undo -and $status -ne 'enabled') {
        if ($status -eq 'disabled' -and -not $Restart) {
            throw "${Type}: the subscription is disabled (-Restart starts it again)"
        }
        if ($PSCmdlet.ShouldProcess($Type, 'start the subscription')) {
            Invoke-Feed POST "start?contentType=$Type" $Token | Out-Null
        }
    }
    else { Write-Output "as it should be: $Type, $status" }
}

function Set-Subscriptions {
    if (-not $Tenant) { throw '-Tenant: needs the id of the tenant' }
    $token = (Get-AzAccessToken -ResourceUrl $Clouds[$Cloud].Feed -TenantId $Tenant -AsSecureString).Token
    $all = @(Invoke-Feed GET list $token)
    foreach ($type in $Types) { Set-Subscription $type $all $token }
}

# --- Mailboxes, through Exchange Online ----------------------------------------------------------

# The sign-in types of a mailbox that do not log mail that is read.
function Get-Missing([object] $Mailbox) {
    $SignIns | Where-Object { $Mailbox.$_ -notcontains $Operation }
}

function Set-Audit([string] $Mailbox, [string] $SignIn, [string] $How) {
    $change = @{ Identity = $Mailbox; $SignIn = @{ $How = $Operation } }
    if ($PSCmdlet.ShouldProcess($Mailbox, "$How $Operation, $SignIn")) {
        if ($How -eq 'Add') {
            [pscustomobject] @{ Mailbox = $Mailbox; SignIn = $SignIn } |
                Export-Csv -Path $Record -Append -NoTypeInformation -Encoding utf8
        }
        Set-Mailbox @change
    }
}

function Set-Mailboxes {
    Connect-ExchangeOnline -ExchangeEnvironmentName $Clouds[$Cloud].Exchange -ShowBanner:$false
    if ((Get-OrganizationConfig).AuditDisabled) {
        Write-Warning 'auditing is off for the whole organisation (Set-OrganizationConfig -AuditDisabled $false)'
    }
    if ($Undo) {
        Import-Csv -Path $Record | ForEach-Object { Set-Audit $_.Mailbox $_.SignIn 'Remove' }
        return
    }
    $kinds = 'UserMailbox', 'SharedMailbox', 'RoomMailbox', 'EquipmentMailbox'
    $mailboxes = Get-Mailbox -ResultSize Unlimited -RecipientTypeDetails $kinds
    foreach ($mailbox in $mailboxes) {
        $missing = @(Get-Missing $mailbox)
        if (-not $missing) { continue }
        [pscustomobject] @{ Mailbox = $mailbox.UserPrincipalName; Missing = $missing -join ', ' }
        if ($Apply) {
            foreach ($signIn in $missing) { Set-Audit $mailbox.UserPrincipalName $signIn 'Add' }
        }
    }
}

switch ($Command) {
    'grant' { Set-Grant }
    'subscribe' { Set-Subscriptions }
    'mailboxes' { Set-Mailboxes }
}
