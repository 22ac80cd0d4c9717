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
           What is changed is written to -Record before; -Undo takes exactly that back, and gives
           back to Microsoft (DefaultAuditSet) what it managed before. Needs the module ExchangeOnlineManagement and the role Exchange Administrator.

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
    [string[]] $Types = @('Audit.Exchange', 'Audit.AzureActiveDirectory'),

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
    # Invoke-RestMethod gives a list as one object: as a variable it is taken apart.
    $answer = Invoke-Feed GET list $token
    $all = @($answer | ForEach-Object { $_ })
    foreach ($type in $Types) { Set-Subscription $type $all $token }
}

# --- Mailboxes, through Exchange Online ----------------------------------------------------------

# The sign-in types of a mailbox whose list of operations was cut by hand. One that Microsoft manages
# (DefaultAuditSet) and that lacks the operation is a matter of licence or roll-out, and is left: a
# change would take it out of what Microsoft manages.
function Get-Missing([object] $Mailbox) {
    $SignIns | Where-Object {
        $Mailbox.$_ -notcontains $Operation -and $Mailbox.DefaultAuditSet -notcontains ($_ -replace '^Audit')
    }
}

# A mailbox that refuses holds back no other. Functions of a module do not see this script's
# $ErrorActionPreference.
function Write-Refusal([string] $Mailbox, [object] $Problem) {
    $script:Refused += 1
    Write-Warning "${Mailbox}: refused, $($Problem.FullyQualifiedErrorId)"
}

# The record is written first, by the object's id: a sign-in name can come to be another person's.
function Set-Audit([object] $Mailbox, [string] $SignIn) {
    $name = $Mailbox.UserPrincipalName
    $change = @{ Identity = $Mailbox.ExternalDirectoryObjectId; $SignIn = @{ Add = $Operation } }
    if ($PSCmdlet.ShouldProcess($name, "Add $Operation, $SignIn")) {
        [pscustomobject] @{
            Id = $Mailbox.ExternalDirectoryObjectId
            Mailbox = $name
            SignIn = $SignIn
            DefaultAuditSet = $Mailbox.DefaultAuditSet -join ','
        } | Export-Csv -Path $Record -Append -NoTypeInformation -Encoding utf8
        try { Set-Mailbox @change -ErrorAction Stop } catch { Write-Refusal $name $_ }
    }
}

# What Microsoft managed before is given back to it; from another list the operation is taken out.
function Undo-Audit([object] $Change) {
    $known = $Change.PSObject.Properties.Name -contains 'DefaultAuditSet'
    $id = if ($known) { $Change.Id } else { $Change.Mailbox }
    $signIn = $Change.SignIn
    $type = $signIn -replace '^Audit'
    $back = @{ Identity = $id; $signIn = @{ Remove = $Operation } }
    if ($known -and (($Change.DefaultAuditSet -split ',') -contains $type)) {
        $back = @{ Identity = $id; DefaultAuditSet = $type }
    }
    if (-not $known) {
        Write-Warning "$($Change.Mailbox): the record does not say whether Microsoft managed $type; Set-Mailbox -DefaultAuditSet $type gives it back"
    }
    if ($PSCmdlet.ShouldProcess($Change.Mailbox, "undo $Operation, $signIn")) {
        try { Set-Mailbox @back -ErrorAction Stop } catch { Write-Refusal $Change.Mailbox $_ }
    }
}

function Undo-Mailboxes {
    $changes = Import-Csv -Path $Record | Sort-Object -Unique -Property @('Mailbox', 'SignIn')
    foreach ($change in $changes) { Undo-Audit $change }
}

function Set-Found {
    $kinds = 'UserMailbox', 'SharedMailbox', 'RoomMailbox', 'EquipmentMailbox'
    $mailboxes = @(Get-Mailbox -ResultSize Unlimited -RecipientTypeDetails $kinds -ErrorAction Stop)
    $found = 0
    foreach ($mailbox in $mailboxes) {
        $missing = @(Get-Missing $mailbox)
        if (-not $missing) { continue }
        $found += 1
        [pscustomobject] @{ Mailbox = $mailbox.UserPrincipalName; Missing = $missing -join ', ' }
        if ($Apply) {
            foreach ($signIn in $missing) { Set-Audit $mailbox $signIn }
        }
    }
    Write-Output "$($mailboxes.Count) mailboxes looked at, the lists of $found were cut by hand"
}

function Set-Mailboxes {
    Connect-ExchangeOnline -ExchangeEnvironmentName $Clouds[$Cloud].Exchange -ShowBanner:$false -ErrorAction Stop
    if ((Get-OrganizationConfig -ErrorAction Stop).AuditDisabled) {
        Write-Warning 'auditing is off for the whole organisation (Set-OrganizationConfig -AuditDisabled $false)'
    }
    $script:Refused = 0
    if ($Undo) { Undo-Mailboxes } else { Set-Found }
    if ($Refused) { throw "$Refused changes were refused" }
}

switch ($Command) {
    'grant' { Set-Grant }
    'subscribe' { Set-Subscriptions }
    'mailboxes' { Set-Mailboxes }
}
