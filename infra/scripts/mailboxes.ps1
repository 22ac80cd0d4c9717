<#
.SYNOPSIS
Reads and changes what only Exchange Online PowerShell reaches: the audit settings of mailboxes.

.DESCRIPTION
-Export FILE   writes the settings of all user, shared, room and equipment mailboxes into FILE.
-Apply PLAN -Record FILE
               does what "mailvigil tenant mailboxes EXPORT --plan PLAN" planned, and writes into a new
               FILE what was there before.
-Undo RECORD   gives back what was there before, each mailbox once.

Needs the module ExchangeOnlineManagement 3.5 or newer. An open connection is used (such as one of
Connect-ExchangeOnline -Device, or of an application), else one is opened and closed again. A mailbox
that refuses is named, the others go on, and the script then ends with an error. With -WhatIf nothing
is changed and no file is written.
#>
#Requires -Version 7.4
#Requires -Modules ExchangeOnlineManagement
[CmdletBinding(SupportsShouldProcess)]
param(
    [Parameter(Mandatory, ParameterSetName = 'Export')] [string] $Export,
    [Parameter(Mandatory, ParameterSetName = 'Apply')] [string] $Apply,
    [Parameter(Mandatory, ParameterSetName = 'Apply')] [string] $Record,
    [Parameter(Mandatory, ParameterSetName = 'Undo')] [string] $Undo,
    [ValidateSet('O365Default', 'O365USGovGCCHigh', 'O365USGovDoD')]
    [string] $ExchangeEnvironmentName = 'O365Default'
)
Set-StrictMode -Version Latest
# Exchange's cmdlets are functions of a module and do not see this: each call says -ErrorAction Stop.
$ErrorActionPreference = 'Stop'
$Operation = 'MailItemsAccessed'
$Lists = 'AuditOwner', 'AuditDelegate', 'AuditAdmin'
$All = @{ ResultSize = 'Unlimited'; RecipientTypeDetails = 'UserMailbox', 'SharedMailbox', 'RoomMailbox', 'EquipmentMailbox' }
$Failed = 0

function Write-Failure([string] $What) {
    $script:Failed += 1
    Write-Warning $What
}

# Gives the id of the connection that it opened, or nothing.
function Connect-Exchange {
    $before = @(Get-ConnectionInformation -ErrorAction Stop)
    if (@($before | Where-Object { $_.State -eq 'Connected' -and -not $_.IsEopSession })) { return }
    Connect-ExchangeOnline -ExchangeEnvironmentName $ExchangeEnvironmentName -ShowBanner:$false -ErrorAction Stop | Out-Null
    $known = @($before | ForEach-Object { $_.ConnectionId })
    Get-ConnectionInformation -ErrorAction Stop | ForEach-Object { $_.ConnectionId } | Where-Object { $_ -notin $known }
}

# Whether AuditEnabled is set, by id. A mailbox where it never was shows True all the same: only the
# server's filter tells. One that is in both answers, or in none, stays unknown.
function Get-AuditEnabledSet {
    $set = @{}
    Get-EXOMailbox @All -Filter 'AuditEnabled -eq $true' -ErrorAction Stop | ForEach-Object { $set["$($_.ExternalDirectoryObjectId)"] = $true }
    Get-EXOMailbox @All -Filter 'AuditEnabled -ne $true' -ErrorAction Stop | ForEach-Object {
        $id = "$($_.ExternalDirectoryObjectId)"
        $set[$id] = if ($set[$id]) { $null } else { $false }
    }
    $set
}

# The comma keeps a list one object. No value is not an empty list, except in DefaultAuditSet.
function Get-Words([object] $Mailbox, [string] $Name) {
    $property = $Mailbox.PSObject.Properties[$Name]
    if (-not $property -or ($null -eq $property.Value -and $Name -ne 'DefaultAuditSet')) { return $null }
    , @(($property.Value -join ',') -split '[,\s]+' | Where-Object { $_ } | Sort-Object)
}

function Get-State([object] $Mailbox, [hashtable] $Set) {
    $enabled = $Mailbox.PSObject.Properties['AuditEnabled']
    $state = [ordered] @{ AuditEnabled = if ($enabled) { $enabled.Value } else { $null } }
    $state.AuditEnabledSet = $Set["$($Mailbox.ExternalDirectoryObjectId)"]
    foreach ($name in $Lists + 'DefaultAuditSet') { $state[$name] = Get-Words $Mailbox $name }
    $state
}

function ConvertTo-Line([object] $Values) { ConvertTo-Json $Values -Compress -Depth 4 }

# Gives the lines of an export one by one. Without its last line an export is not whole.
function Get-Export([object] $Organisation) {
    $head = [ordered] @{ Line = 'export'; Version = 1; Organisation = $Organisation.Name; AuditDisabled = $Organisation.AuditDisabled }
    $head.UnifiedAuditLogIngestionEnabled = (Get-AdminAuditLogConfig -ErrorAction Stop).UnifiedAuditLogIngestionEnabled
    ConvertTo-Line $head
    $bypass = @{}
    Get-MailboxAuditBypassAssociation -ResultSize Unlimited -ErrorAction Stop | Where-Object { $_.AuditBypassEnabled } | ForEach-Object {
        $bypass["$($_.Guid)"] = $true
        ConvertTo-Line ([ordered] @{ Line = 'bypass'; Id = "$($_.Guid)"; Name = "$($_.Name)" })
    }
    $set = Get-AuditEnabledSet
    $read = 0
    Get-EXOMailbox @All -PropertySets 'Minimum', 'Audit' -ErrorAction Stop | ForEach-Object {
        $read += 1
        if ($read % 500 -eq 0) { Write-Progress -Activity 'mailboxes' -Status "$read read" }
        $row = [ordered] @{ Line = 'mailbox'; Id = "$($_.ExternalDirectoryObjectId)"; Name = "$($_.UserPrincipalName)" }
        $row.Type = "$($_.RecipientTypeDetails)"
        $row.Bypass = $bypass.ContainsKey("$($_.Guid)")
        $row.State = Get-State $_ $set
        ConvertTo-Line $row
    }
    ConvertTo-Line ([ordered] @{ Line = 'end'; Organisation = $Organisation.Name; Mailboxes = $read })
}

function Assert-File([string] $File, [string] $Kind, [object] $Organisation) {
    $head = Get-Content -LiteralPath $File -TotalCount 1 -Encoding utf8 | ConvertFrom-Json
    if ($head.Line -ne $Kind -or $head.Version -ne 1) { throw "${File}: is not a $Kind of version 1" }
    if ($head.Organisation -ne $Organisation.Name) { throw "${File}: is of $($head.Organisation), connected is $($Organisation.Name)" }
}

function Add-Line([string] $File, [object] $Values) { ConvertTo-Line $Values | Add-Content -LiteralPath $File -Encoding utf8 }

# The record is written before the change. A mailbox that is not as the plan saw it is left alone.
function Set-Audit([object] $Row, [hashtable] $Set) {
    if ($PSCmdlet.ShouldProcess($Row.Name, "add $Operation to '$($Row.Add -join ', ')', set AuditEnabled: $($Row.SetAuditEnabled)")) {
        $mailbox = Get-EXOMailbox -ExternalDirectoryObjectId $Row.Id -PropertySets 'Minimum', 'Audit' -ErrorAction Stop
        $now = Get-State $mailbox $Set
        if ((ConvertTo-Line $now) -cne (ConvertTo-Line $Row.Before)) { throw 'is not as it was exported; export again' }
        $change = @{}
        foreach ($list in $Row.Add) {
            if ($list -notin $Lists) { throw "the plan names the list '$list'" }
            $change[$list] = @{ Add = $Operation }
        }
        if ($Row.SetAuditEnabled) { $change.AuditEnabled = $true }
        $Row.Line = 'change'
        Add-Line $Record $Row
        # Where it shows True already, to set True alone does nothing.
        $offFirst = $Row.SetAuditEnabled -and $now.AuditEnabled
        try {
            if ($offFirst) { Set-Mailbox -Identity $Row.Id -AuditEnabled $false -ErrorAction Stop }
            Set-Mailbox -Identity $Row.Id @change -ErrorAction Stop
        }
        catch {
            # An error may come after the change, such as a timeout: then the change stays to be undone.
            $after = Get-State (Get-EXOMailbox -ExternalDirectoryObjectId $Row.Id -PropertySets 'Minimum', 'Audit' -ErrorAction Stop) $Set
            if (-not $offFirst -and (ConvertTo-Line $after) -ceq (ConvertTo-Line $now)) { Add-Line $Record ([ordered] @{ Line = 'refused'; Id = $Row.Id }) }
            throw
        }
        Add-Line $Record ([ordered] @{ Line = 'done'; Id = $Row.Id })
    }
}

# A list that Microsoft managed is given back to it; one that it manages only since is left to it.
function Undo-Audit([object] $Row) {
    if ($PSCmdlet.ShouldProcess($Row.Name, "give back what was there: '$($Row.Add -join ', ')', AuditEnabled: $($Row.SetAuditEnabled)")) {
        $mailbox = Get-EXOMailbox -ExternalDirectoryObjectId $Row.Id -PropertySets 'Minimum', 'Audit' -ErrorAction Stop
        $managed = Get-Words $mailbox 'DefaultAuditSet'
        $types = @()
        $back = @{}
        foreach ($list in $Row.Add) {
            $type = $list -replace '^Audit'
            if ($Row.Before.DefaultAuditSet -contains $type) { $types += $type }
            elseif ($managed -contains $type) { Write-Failure "$($Row.Name): $list is left, Microsoft manages it by now" }
            else { $back[$list] = @{ Remove = $Operation } }
        }
        if ($types) { $back.DefaultAuditSet = $types }
        if ($Row.SetAuditEnabled) { $back.AuditEnabled = $false }
        Set-Mailbox -Identity $Row.Id @back -ErrorAction Stop
        Add-Content -LiteralPath $Undo -Value '' -Encoding utf8 # ends a line that was cut off
        Add-Line $Undo ([ordered] @{ Line = 'undone'; Id = $Row.Id })
    }
}

# Gives the changes that were neither refused nor undone. A line that was cut off holds none: its
# change had not begun.
function Get-Changes {
    $open = @{}
    Get-Content -LiteralPath $Undo -Encoding utf8 | Where-Object { $_ } | ForEach-Object {
        $line = $_
        try { $row = ConvertFrom-Json $line } catch { Write-Failure "${Undo}: a line cannot be read and is passed over"; return }
        if ($row.Line -eq 'change') { $open[$row.Id] = $line } elseif ($row.Line -in 'refused', 'undone') { $open.Remove($row.Id) }
    }
    foreach ($line in $open.Values) { ConvertFrom-Json $line }
}

function Invoke-Plan([object] $Organisation) {
    Assert-File $Apply 'plan' $Organisation
    $end = Get-Content -LiteralPath $Apply -Tail 1 -Encoding utf8 | ConvertFrom-Json
    if ($end.Line -ne 'end') { throw "${Apply}: is cut off; make it again" }
    $set = Get-AuditEnabledSet
    if ($PSCmdlet.ShouldProcess($Record, 'begin the record')) {
        New-Item -ItemType File -Path $Record | Out-Null # refuses one that is there
        Add-Line $Record ([ordered] @{ Line = 'record'; Version = 1; Organisation = $Organisation.Name })
    }
    # Not Get-Content | ConvertFrom-Json: that takes all lines for one text.
    Get-Content -LiteralPath $Apply -Encoding utf8 | ForEach-Object {
        $row = ConvertFrom-Json $_
        if ($row.Line -eq 'mailbox') { try { Set-Audit $row $set } catch { Write-Failure "$($row.Name): $_" } }
    }
}

$opened = Connect-Exchange
try {
    $organisation = Get-OrganizationConfig -ErrorAction Stop
    switch ($PSCmdlet.ParameterSetName) {
        'Export' { Get-Export $organisation | Set-Content -LiteralPath $Export -Encoding utf8 }
        'Apply' { Invoke-Plan $organisation }
        'Undo' {
            Assert-File $Undo 'record' $organisation
            Get-Changes | ForEach-Object { $row = $_; try { Undo-Audit $row } catch { Write-Failure "$($row.Name): $_" } }
        }
    }
}
finally { if ($opened) { Disconnect-ExchangeOnline -ConnectionId $opened -Confirm:$false -ErrorAction Stop } }
if ($Failed) { throw "$Failed not done; the warnings say which" }
