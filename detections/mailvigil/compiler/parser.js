// Bridge to Microsoft's Kusto.Language: declare a workspace once, then analyse query texts.
// Runs in a bare V8 and in Node; uses no API of either.
"use strict";

var workspace = null;
var declared = new Map();

function columnList(columns) {
  return Object.keys(columns)
    .map(function (name) {
      return "['" + name + "']:" + columns[name];
    })
    .join(", ");
}

function watchlistFunction(watchlists) {
  var S = Kusto.Language.Symbols;
  var standard = {
    _DTItemId: "string",
    LastUpdatedTimeUTC: "datetime",
    SearchKey: "string",
    WatchlistItem: "dynamic",
  };
  var known = {};
  Object.keys(watchlists).forEach(function (alias) {
    var all = Object.assign({}, standard, watchlists[alias]);
    known[alias] = S.TableSymbol.From("(" + columnList(all) + ")");
  });
  var unknown = S.TableSymbol.From("(" + columnList(standard) + ")").WithIsOpen(true);
  function result(context) {
    var first = context.Arguments.getItem(0);
    return known[first && first.ConstantValue] || unknown;
  }
  var parameter = new S.Parameter.$ctor2("watchlistAlias", S.ScalarTypes.String);
  return new S.FunctionSymbol.ctor("_GetWatchlist", result, S.Tabularity.Tabular, [parameter]);
}

// given: {tables: {name: {column: type}}, functions: [{name, parameters, body}],
//         watchlists: {alias: {column: type}}}
function declareWorkspace(given) {
  if (!declared.has(given)) declared.set(given, workspaceOf(JSON.parse(given)));
  workspace = declared.get(given);
  return true;
}

// The cache saves what the body of a function is analysed to. It is lost where the options are not
// those that KustoCode sets.
function workspaceOf(input) {
  var S = Kusto.Language.Symbols;
  var members = Object.keys(input.tables).map(function (name) {
    return new S.TableSymbol.$ctor7(name, "(" + columnList(input.tables[name]) + ")", null);
  });
  input.functions.forEach(function (f) {
    members.push(new S.FunctionSymbol.$ctor16(f.name, f.parameters, "{" + f.body + "\n}", null));
  });
  members.push(watchlistFunction(input.watchlists));
  var database = new S.DatabaseSymbol.ctor("workspace", members);
  var globals = Kusto.Language.GlobalState.Default.WithDatabase(database);
  var options = globals.ParseOptions.WithAlwaysProduceEndTokens(true);
  return globals.WithParseOptions(options).WithCache();
}

function diagnosticsOf(code, text) {
  var found = [];
  var all = code.GetDiagnostics();
  for (var i = 0; i < all.Count; i++) {
    var d = all.getItem(i);
    var line = { v: 0 };
    var column = { v: 0 };
    code.TryGetLineAndOffset(d.Start, line, column);
    found.push({
      code: d.Code,
      severity: d.Severity,
      message: d.Message,
      line: line.v,
      column: column.v,
      text: text.substr(d.Start, d.Length),
    });
  }
  return found;
}

function columnsOf(type) {
  var columns = [];
  if (type && type.Columns) {
    for (var i = 0; i < type.Columns.Count; i++) {
      var column = type.Columns.getItem(i);
      columns.push({ name: column.Name, type: column.Type.Name });
    }
  }
  return columns;
}

function legOf(expression) {
  return {
    start: expression.TextStart,
    end: expression.End,
    columns: columnsOf(expression.ResultType),
  };
}

// Every union below the node. What is piped into a union is "input", or null.
function unionsOf(node, found) {
  var S = Kusto.Language.Syntax;
  if (node instanceof S.UnionOperator) {
    var parent = node.Parent;
    var piped = parent instanceof S.PipeExpression && parent.Operator === node;
    var legs = [];
    for (var i = 0; i < node.Expressions.Count; i++) {
      legs.push(legOf(node.Expressions.getItem(i).Element$1));
    }
    found.push({
      input: piped ? legOf(parent.Expression) : null,
      legs: legs,
      fuzzy: /isfuzzy\s*=\s*true/i.test(node.Parameters.ToString()),
    });
  }
  for (var j = 0; j < node.ChildCount; j++) {
    var child = node.GetChild(j);
    if (child) unionsOf(child, found);
  }
  return found;
}

function analyse(text) {
  var code = Kusto.Language.KustoCode.ParseAndAnalyze(text, workspace);
  return JSON.stringify({
    diagnostics: diagnosticsOf(code, text),
    columns: columnsOf(code.ResultType),
    unions: unionsOf(code.Syntax, []),
  });
}

// The tree of a query without its tokens, lists taken for what they list. "text" is there where
// nothing is below a node, and of "kind=leftanti" and the like; "columns" where the node is a table.
function syntaxOf(node) {
  var S = Kusto.Language.Syntax;
  var found = { kind: System.Enum.toString(S.SyntaxKind, node.Kind), children: [] };
  for (var i = 0; i < node.ChildCount; i++) addSyntax(node.GetChild(i), found.children);
  if (!found.children.length || node instanceof S.NamedParameter) found.text = node.ToString();
  if (node.ResultType && node.ResultType.Columns) found.columns = node.ResultType.Columns.Count;
  return found;
}

function addSyntax(node, found) {
  var S = Kusto.Language.Syntax;
  if (!node || node instanceof S.SyntaxToken) return;
  var kind = System.Enum.toString(S.SyntaxKind, node.Kind);
  if (kind !== "List" && kind !== "SeparatedElement") {
    found.push(syntaxOf(node));
    return;
  }
  for (var i = 0; i < node.ChildCount; i++) addSyntax(node.GetChild(i), found);
}

function syntax(text) {
  return JSON.stringify(syntaxOf(Kusto.Language.KustoCode.ParseAndAnalyze(text, workspace).Syntax));
}

// given a position in UTF-16 units: all that can stand there, whatever is typed of it already,
// which is the text from "start" on.
function complete(text, position) {
  var code = new Kusto.Language.Editor.KustoCodeService.$ctor1(text, workspace);
  var found = code.GetCompletionItems(position);
  var words = [];
  for (var i = 0; i < found.Items.Count; i++) {
    var item = found.Items.getItem(i);
    var call = /\((\)?)\s*$/.exec(item.BeforeText.split("\n")[0]) || /\(\)$/.exec(item.DisplayText);
    words.push(item.MatchText + (call ? call[0].trim() : ""));
  }
  return JSON.stringify({ start: found.EditStart, words: words });
}
