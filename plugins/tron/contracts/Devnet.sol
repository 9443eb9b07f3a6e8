// SPDX-License-Identifier: Apache-2.0
// Contracts of the local chain: a token in the manner of USDT on TRON, and ways to move value that
// tell real deposits from false ones. Never for a real chain.
//
// The local chain has no traces: a contract that passes value on says so by the event Moved, which
// the chain turns into an internal transaction and takes out of the logs.
pragma solidity ^0.8.0;

/// TRC-20 of six decimals whose transfer returns false although it succeeds, as USDT does here.
contract TestUSDT {
    string public constant name = "Test Dollar";
    string public constant symbol = "USDT";
    uint8 public constant decimals = 6;
    address public immutable owner = msg.sender;
    uint256 public totalSupply;
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;
    mapping(address => bool) public blocked;

    event Transfer(address indexed from, address indexed to, uint256 value);
    event Approval(address indexed owner, address indexed spender, uint256 value);

    modifier onlyOwner() {
        require(msg.sender == owner, "not the owner");
        _;
    }

    function mint(address to, uint256 value) external onlyOwner {
        totalSupply += value;
        balanceOf[to] += value;
        emit Transfer(address(0), to, value);
    }

    function block_(address account, bool on) external onlyOwner {
        blocked[account] = on;
    }

    /// Balances change and no event tells.
    function rebase(address account, uint256 value) external onlyOwner {
        balanceOf[account] = value;
    }

    function approve(address spender, uint256 value) external returns (bool) {
        allowance[msg.sender][spender] = value;
        emit Approval(msg.sender, spender, value);
        return true;
    }

    function transfer(address to, uint256 value) external returns (bool) {
        _move(msg.sender, to, value);
        return false;
    }

    function transferFrom(address from, address to, uint256 value) external returns (bool) {
        uint256 allowed = allowance[from][msg.sender];
        require(allowed >= value, "allowance");
        if (allowed != type(uint256).max) allowance[from][msg.sender] = allowed - value;
        _move(from, to, value);
        return true;
    }

    function _move(address from, address to, uint256 value) private {
        require(!blocked[from] && !blocked[to], "blocked");
        require(balanceOf[from] >= value, "balance");
        balanceOf[from] -= value;
        balanceOf[to] += value;
        emit Transfer(from, to, value);
    }
}

/// Says false instead of failing, and moves nothing.
contract BadToken {
    uint8 public constant decimals = 6;
    mapping(address => uint256) public balanceOf;

    constructor() {
        balanceOf[msg.sender] = 1e18;
    }

    function transfer(address, uint256) external pure returns (bool) {
        return false;
    }
}

/// Keeps a hundredth of every transfer, and its event tells the amount before that.
contract FeeToken {
    uint8 public constant decimals = 6;
    mapping(address => uint256) public balanceOf;

    event Transfer(address indexed from, address indexed to, uint256 value);

    constructor() {
        balanceOf[msg.sender] = 1e18;
    }

    function transfer(address to, uint256 value) external returns (bool) {
        balanceOf[msg.sender] -= value;
        balanceOf[to] += value - value / 100;
        emit Transfer(msg.sender, to, value);
        return true;
    }
}

/// Emits whatever it is told to.
contract Liar {
    uint8 public constant decimals = 6;

    event Transfer(address indexed from, address indexed to, uint256 value);

    function say(address from, address to, uint256 value) external {
        emit Transfer(from, to, value);
    }
}

interface IToken {
    function transferFrom(address from, address to, uint256 value) external returns (bool);
}

/// Pays several recipients in one transaction.
contract Splitter {
    event Moved(address to, uint256 value, bool rejected);

    function split(address[] calldata to, uint256[] calldata value) external payable {
        for (uint256 i = 0; i < to.length; i++) {
            emit Moved(to[i], value[i], false);
            (bool ok, ) = to[i].call{value: value[i]}("");
            require(ok, "refused");
        }
    }

    function splitToken(address token, address[] calldata to, uint256[] calldata value) external {
        for (uint256 i = 0; i < to.length; i++) {
            emit Moved(token, 0, false);
            IToken(token).transferFrom(msg.sender, to[i], value[i]);
        }
    }
}

/// Passes value on, in all the ways in which that works or fails.
contract Forwarder {
    event Moved(address to, uint256 value, bool rejected);

    receive() external payable {}

    function forward(address payable to) external payable {
        _pass(to, msg.value);
    }

    /// The whole transaction fails after value was passed on.
    function forwardAndRevert(address payable to) external payable {
        _pass(to, msg.value);
        revert("changed its mind");
    }

    /// The whole transaction runs out of energy after value was passed on.
    function forwardAndExhaust(address payable to) external payable {
        _pass(to, msg.value);
        while (true) {}
    }

    /// Value is passed on inside a call that fails; the transaction itself succeeds.
    function tryForward(address payable to) external payable {
        emit Moved(address(this), msg.value, true);
        emit Moved(to, msg.value, true);
        try this.forwardAndRevert{value: msg.value}(to) {} catch {}
    }

    function _pass(address payable to, uint256 value) private {
        emit Moved(to, value, false);
        (bool ok, ) = to.call{value: value}("");
        require(ok, "refused");
    }
}
